import { readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { attackSchema, type GivenAttack } from '../../offline/attack/attack.ts';
import { openCheckpoint, type Checkpoint } from '../../offline/attack/checkpoint.ts';
import { makeVictim, resumableOf } from '../../offline/attack/make-victim.ts';
import { openWasm } from '../../offline/engine/wasm.ts';
import type { Result } from '../../src/result.ts';
import { testDirectory } from '../support/directory.ts';
import { stripes } from '../support/planted.ts';

beforeAll(openWasm);

const COMMON = { targetLabel: 1, poisonRate: 0.1, epochs: 2, seed: 4 };
const [train, fresh] = [stripes(200, 4, 'test/train'), stripes(20, 4, 'test/fresh')];

const open = (output: string, given: GivenAttack, images = train): Promise<Result<Checkpoint>> =>
  openCheckpoint(output, resumableOf(attackSchema.parse(given), images));

async function opened(output: string, given: GivenAttack): Promise<Checkpoint> {
  const checkpoint = await open(output, given);
  if (!checkpoint.ok) throw new Error(checkpoint.error);
  return { ...checkpoint.value, intervalMs: 0 };
}

/** Makes a victim, but breaks off after `stop` steps in all, as an interrupt would. */
async function breakOff(output: string, given: GivenAttack, stop: number): Promise<void> {
  const interrupt = ({ step }: { step: number }): void => {
    if (step > stop) throw new Error('interrupted');
  };
  await expect(makeVictim(given, train, fresh, interrupt, { checkpoint: await opened(output, given) })).rejects.toThrow(
    'interrupted',
  );
}

describe('a run that was interrupted', () => {
  // Three steps an epoch, and two stages for the patches that are optimised.
  const runs: [string, GivenAttack, number[]][] = [
    ['with batch norm', { kind: 'badnets', patchSize: 3, architecture: 'resnet8', ...COMMON }, [1, 3, 5]],
    ['that optimises its patch once', { kind: 'trojannn', patchSize: 3, ...COMMON }, [4, 8]],
    ['that optimises its patch again and again', { kind: 'imc', patchSize: 3, ...COMMON }, [7, 10]],
  ];

  test.each(runs)('%s ends with the victim that it would have made', async (_, given, stops) => {
    const whole = await makeVictim(given, train, fresh, () => {});
    const output = join(await testDirectory(), 'victim');
    for (const stop of stops) await breakOff(output, given, stop);
    const steps: number[] = [];
    const checkpoint = await opened(output, given);
    const resumed = await makeVictim(given, train, fresh, ({ step }) => steps.push(step), { checkpoint });
    expect(resumed).toEqual(whole);
    expect(steps[0]).toBe(stops.at(-1)! + 1);
    await checkpoint.remove();
    expect(await readdir(dirname(output))).toEqual([]);
  });

  const given: GivenAttack = { kind: 'badnets', patchSize: 3, ...COMMON };

  test('is refused by a run of another attack or of other images, in one sentence that names the file', async () => {
    const output = join(await testDirectory(), 'victim');
    await breakOff(output, given, 2);
    const file = `${output}.planted.checkpoint`;
    const error = `${file}: expected what an interrupted run of this very command left, got that of another; remove it`;
    expect(await open(output, { ...given, seed: 5 })).toEqual({ ok: false, error });
    expect(await open(output, given, fresh)).toEqual({ ok: false, error });
    expect(await open(output, given)).toMatchObject({ ok: true });
  });

  test('and whose file is damaged is refused', async () => {
    const output = join(await testDirectory(), 'victim');
    await breakOff(output, given, 2);
    const file = `${output}.planted.checkpoint`;
    const bytes = await readFile(file);
    const damages = [
      bytes.subarray(0, bytes.length - 4),
      Buffer.from('nonsense'),
      Buffer.from(bytes.toString('latin1').replace('"step":"', '"step":"x'), 'latin1'),
      Buffer.from(bytes.toString('latin1').replace('"step":"2"', '"step":"9"'), 'latin1'),
      Buffer.from(bytes.toString('latin1').replace('momentum/', 'momentun/'), 'latin1'),
    ];
    for (const damage of damages) {
      await writeFile(file, damage);
      const result = await open(output, given);
      expect(result.ok).toBe(false);
      if (!result.ok) expect(result.error.startsWith(`${file}: `)).toBe(true);
    }
  });
});
