/** Purifying a model file through the real process: what comes out serves as a release, and as the file that it was. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadDataset } from '../../offline/data/load.ts';
import { openWasm } from '../../offline/engine/wasm.ts';
import { exportModel } from '../../offline/export/export.ts';
import { openModel } from '../../offline/import/open.ts';
import { loadModel } from '../../offline/model.ts';
import { encodeSafetensors } from '../../src/network/safetensors.ts';
import { largestDifference, logitsOf, realImages } from '../import/images.ts';
import { onnxAnswers } from '../import/onnxruntime.ts';
import { run } from './process.ts';

const EXAMPLE = join(import.meta.dirname, '..', '..', 'offline/example');
const CLEAN = join(EXAMPLE, 'clean-500.safetensors');
let root: string;
let labelNames: string[];
const at = (name: string): string => join(root, name);

beforeAll(async () => {
  await openWasm();
  root = await mkdtemp(join(tmpdir(), 'trigger-guard-purify-'));
  const victim = await loadModel(join(EXAMPLE, 'victim'));
  if (!victim.ok) throw new Error(victim.error);
  ({ labelNames } = victim.value.network);
  // A file of another program does not know the names of its labels.
  const network = { ...victim.value.network, labelNames: labelNames.map((_, label) => `${label}`) };
  await exportModel({ ...victim.value, network }, 'onnx', at('victim.onnx'));
});
afterAll(() => rm(root, { recursive: true }));

test('purify writes a release and beside it the ONNX file, which answers in onnxruntime what the release does', async () => {
  const key = at('key.pem');
  const flags = ['--clean', CLEAN, '--out', at('release'), '--work', at('work'), '--engine', 'wasm', '--json'];
  const { code, stdout, stderr } = await run(['purify', at('victim.onnx'), ...flags], { TRIGGER_GUARD_KEY: key });
  expect(code, stderr).toBe(0);
  const printed = JSON.parse(stdout) as Record<string, unknown>;
  expect(printed).toMatchObject({ outcome: 'purified', modelFile: at('release.onnx') });
  expect(printed['provenance']).toMatchObject({ source: { format: 'onnx', input: { scale: 1, channels: 'rgb' } } });

  const release = await openModel(at('release'), {}, `${key}.pub`);
  if (!release.ok) throw new Error(release.error);
  expect(release.value.network.labelNames).toEqual(labelNames);
  const images = realImages(1);
  const answers = logitsOf(release.value, images);
  expect(largestDifference(answers, await onnxAnswers(at('release.onnx'), images))).toBeLessThan(1e-4);
  expect(largestDifference(answers, await onnxAnswers(at('victim.onnx'), images))).toBeGreaterThan(0.1);
  const [before, after] = [await readFile(at('victim.onnx')), await readFile(at('release.onnx'))];
  expect(after.length).toBe(before.length);
}, 600_000);

test('purify goes on from the stages that it kept, to the same release but for the time', async () => {
  const key = at('key.pem');
  const flags = ['--clean', CLEAN, '--out', at('again'), '--work', at('work'), '--engine', 'wasm', '--json'];
  const { code, stdout, stderr } = await run(['purify', at('victim.onnx'), ...flags], { TRIGGER_GUARD_KEY: key });
  expect(code, stderr).toBe(0);
  expect(stderr.match(/ done in /g)!.length).toBe(stderr.match(/, as kept {2}done in /g)!.length);
  const weights = await Promise.all(['release', 'again'].map((name) => readFile(at(`${name}/weights.safetensors`))));
  expect(weights[1]).toEqual(weights[0]);
  expect(JSON.parse(stdout)).toMatchObject({ outcome: 'purified' });
}, 120_000);

test('scan finds the backdoor with images that have no labels, too', async () => {
  const place = at('unlabelled.safetensors');
  const clean = await loadDataset(CLEAN);
  if (!clean.ok) throw new Error(clean.error);
  const { images, count, height, width, channels } = clean.value;
  const shape = [count, height, width, channels];
  await writeFile(place, encodeSafetensors(new Map([['images', { dtype: 'U8', shape, data: images }]])));
  const flags = ['--clean', place, '--engine', 'wasm', '--json'];
  const refused = await run(['scan', at('victim.onnx'), ...flags]);
  expect(refused.stderr).toContain(`${place}: labels: expected I32 or I64 [500], got no such tensor`);
  const { code, stdout, stderr } = await run(['scan', at('victim.onnx'), ...flags, '--unlabelled']);
  expect(code, stderr).toBe(4);
  expect(stderr).toContain("500 images without labels: the model's own answers stand for them");
  const { findings } = JSON.parse(stdout) as { findings: { targetLabel: number; grade: string }[] };
  expect(findings.filter(({ grade }) => grade === 'backdoor')).toMatchObject([{ targetLabel: 5 }]);
}, 300_000);

test('purify refuses a model whose images it sees wrongly, before any long work', async () => {
  const flags = ['--clean', CLEAN, '--out', at('other'), '--engine', 'wasm', '--mean', '9'];
  const { code, stdout, stderr } = await run(['purify', at('victim.onnx'), ...flags], {
    TRIGGER_GUARD_KEY: at('k.pem'),
  });
  expect(stderr).toMatch(
    /\nerror: .*victim\.onnx: \d+\.\d % of the clean images are right.* with --mean 0 it would be \d+/,
  );
  expect(code).toBe(2);
  expect(stdout).toBe('');
}, 60_000);
