import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import type { Progress } from '../offline/progress.ts';
import { resumable } from '../offline/resume.ts';
import { testDirectory } from './support/directory.ts';

let folder: string;
beforeEach(async () => {
  folder = join(await testDirectory(), 'work');
});

const told: string[] = [];
const plain: Progress = {
  stage: (_name, label, work) => {
    told.push(label);
    return work(() => undefined);
  },
};

/** Three stages, of which `stopAt` throws; answers what they gave and which of them ran. */
async function work(seed: number, stopAt?: string) {
  const progress = resumable(plain, folder, ['model', seed]);
  const ran: string[] = [];
  const stage = <T>(name: string, value: T): Promise<T> =>
    progress.stage(name, `of ${name}`, () => {
      ran.push(name);
      return name === stopAt ? Promise.reject(new Error('stopped')) : Promise.resolve(value);
    });
  const run = async () => {
    const first = await stage('first', new Map([[seed, Float32Array.of(seed, 0.1)]]));
    const second = await stage('second', first.get(seed)![0]! + 1);
    return { first, third: await stage('third', { second, nothing: undefined }) };
  };
  const result = await run().catch((error: Error) => error.message);
  return { result, ran };
}

test('work that was stopped goes on behind its last finished stage, with the same values', async () => {
  expect(await work(7, 'third')).toEqual({ result: 'stopped', ran: ['first', 'second', 'third'] });
  const resumed = await work(7);
  expect(resumed.ran).toEqual(['third']);
  expect(resumed.result).toEqual({
    first: new Map([[7, Float32Array.of(7, 0.1)]]),
    third: { second: 8, nothing: undefined },
  });
  expect(told.slice(-3)).toEqual(['of first, as kept', 'of second, as kept', 'of third']);
});

test('other work takes nothing of it', async () => {
  await work(7);
  expect((await work(8)).ran).toEqual(['first', 'second', 'third']);
});

test.each(['a flipped bit', 'a missing end', 'nothing'])('a kept stage with %s is run again', async (damage) => {
  const { result } = await work(7);
  const [name] = await readdir(folder);
  const bytes = await readFile(join(folder, name!));
  if (damage === 'a flipped bit') bytes[bytes.length >> 1]! ^= 4;
  await writeFile(
    join(folder, name!),
    bytes.subarray(0, damage === 'nothing' ? 0 : bytes.length - (damage === 'a missing end' ? 9 : 0)),
  );
  const again = await work(7);
  expect(again.ran).toEqual([name!.split('-')[0]]);
  expect(again.result).toEqual(result);
  expect((await readdir(folder)).filter((file) => file.endsWith('.tmp'))).toEqual([]);
});
