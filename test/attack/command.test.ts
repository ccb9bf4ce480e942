import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadVictim } from '../../offline/attack/victim-files.ts';
import { saveDataset } from '../../offline/data/tensors.ts';
import { digestModel, loadModel } from '../../offline/model.ts';
import { encodeSafetensors } from '../../src/network/safetensors.ts';
import { run } from '../cli/process.ts';
import { stripes } from '../support/planted.ts';

let folder: string;
let data: string[];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'trigger-guard-attack-'));
  const images = join(folder, 'images.safetensors');
  await saveDataset(images, stripes(128, 4, 'test/train'));
  data = ['--train', images, '--test', images, '--epochs', '1', '--engine', 'wasm'];
});
afterAll(() => rm(folder, { recursive: true }));

test('attack makes a victim with several triggers on another network, prints its card, and leaves no checkpoint', async () => {
  const out = join(folder, 'victim');
  const how = ['--network', 'resnet8', '--target', '3,1', '--alpha', '0.25', '--poison-rate', '0.2', '--json'];
  const { code, stdout, stderr } = await run(['attack', 'blended', ...data, ...how, '--out', out]);
  expect(code, stderr).toBe(0);
  const card: unknown = JSON.parse(stdout);
  expect(card).toMatchObject({
    kind: 'blended',
    alpha: 0.25,
    poisonRate: 0.2,
    architecture: 'resnet8',
    targetLabel: 3,
    targets: { form: 'several', furtherLabels: [1] },
    perTrigger: [{ targetLabel: 3 }, { targetLabel: 1 }],
  });
  expect(await loadVictim(out)).toMatchObject({ ok: true, value: { card } });
  expect((await readdir(folder)).toSorted()).toEqual(['images.safetensors', 'victim']);
});

test('attack refuses to start on what the run of another command left', async () => {
  const out = join(folder, 'other');
  const file = `${out}.planted.checkpoint`;
  await writeFile(file, encodeSafetensors(new Map(), { run: 'another', step: '3' }));
  const { code, stderr } = await run(['attack', 'signal', ...data, '--out', out]);
  expect([code, stderr.trim()]).toEqual([
    2,
    `error: ${file}: expected what an interrupted run of this very command left, got that of another; remove it`,
  ]);
});

test('attack goes on from a trained network and names it on the card, and refuses one of another make', async () => {
  const [base, out] = [join(folder, 'base'), join(folder, 'further')];
  const made = await run(['attack', 'none', ...data, '--network', 'resnet8', '--out', base]);
  expect(made.code, made.stderr).toBe(0);
  const flags = ['attack', 'trojannn', ...data, '--from', base, '--out', out];
  const { code, stdout, stderr } = await run([...flags, '--network', 'resnet8', '--json']);
  expect(code, stderr).toBe(0);
  const start = await loadModel(base);
  if (!start.ok) throw new Error(start.error);
  expect(JSON.parse(stdout)).toMatchObject({ kind: 'trojannn', startDigest: digestModel(start.value) });
  const other = await run(flags.with(-1, `${out}-other`));
  const wanted = 'expected a small-cnn that attack made for such images and labels';
  expect([other.code, other.stderr.trim()]).toEqual([2, `error: --from ${base}: ${wanted}`]);
});
