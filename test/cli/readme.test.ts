/** The command lines that README gives under "Your model", on small files under the names that it uses. */
import { cp, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import * as z from 'zod';
import { givenInput, inputFlags } from '../../offline/commands/flags.ts';
import { everyIndex } from '../../offline/batch.ts';
import { selectImages, type Dataset } from '../../offline/data/dataset.ts';
import { loadDataset } from '../../offline/data/load.ts';
import { saveDataset } from '../../offline/data/tensors.ts';
import { openWasm } from '../../offline/engine/wasm.ts';
import { exportModel } from '../../offline/export/export.ts';
import { openModel } from '../../offline/import/open.ts';
import { loadModel } from '../../offline/model.ts';
import { logitsOf } from '../import/images.ts';
import { run } from './process.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const START = 'npm run -s trigger-guard -- ';
let root: string;
const at = (name: string): string => join(root, name);

beforeAll(async () => {
  await openWasm();
  root = await mkdtemp(join(tmpdir(), 'trigger-guard-readme-'));
  await cp(join(ROOT, 'offline/example/victim'), at('my-model'), { recursive: true });
  await cp(join(ROOT, 'test/models/keras/lenet.keras2.h5'), at('model.h5'));
  await cp(join(ROOT, 'test/models/keras/lenet.keras'), at('model.keras'));
  const victim = await loadModel(at('my-model'));
  if (!victim.ok) throw new Error(victim.error);
  await exportModel(victim.value, 'onnx', at('model.onnx'));
  await exportModel(victim.value, 'tfjs', at('tfjs-model'));
});
afterAll(() => rm(root, { recursive: true }));

/** The lines, without what starts the program. */
async function lines(): Promise<string[]> {
  const text = await readFile(join(ROOT, 'README.md'), 'utf8');
  const [, section = ''] = text.split('\n## Your model\n');
  const [own] = section.split('\n## ');
  return own!.split('\n').flatMap((line) => (line.startsWith(START) ? [line.slice(START.length)] : []));
}

/** Images with the labels that the model itself gives them under these flags, so that the right settings answer all rightly. */
async function labelled(args: readonly string[]): Promise<Dataset> {
  const pairs = args.flatMap((arg, index) => (arg.startsWith('--') ? [[arg.slice(2), args[index + 1]] as const] : []));
  const given = givenInput(z.object(inputFlags).parse(Object.fromEntries(pairs)));
  const model = await openModel(args[1]!, given, 'none');
  if (!model.ok) throw new Error(model.error);
  const example = await loadDataset(join(ROOT, 'offline/example/clean-500.safetensors'));
  if (!example.ok) throw new Error(example.error);
  const some = { ...selectImages(example.value, everyIndex(60)), labelNames: null };
  const data = Float32Array.from(some.images, (value) => value / 255);
  const logits = logitsOf(model.value, { shape: [60, 28, 28, 1], data });
  const labels = some.labels.map((_, row) => {
    const scores = [...logits.subarray(row * 10, row * 10 + 10)];
    return scores.indexOf(Math.max(...scores));
  });
  return { ...some, labels };
}

test('README gives a line for every form of model, and one each for inspect and export', async () => {
  const given = await lines();
  const models = given.map((line) => line.split(' ').slice(0, 2).join(' '));
  expect(models).toEqual([
    'purify model.onnx',
    'purify model.h5',
    'purify model.keras',
    'purify tfjs-model',
    'purify my-model',
    'inspect model.onnx',
    'export model.onnx',
  ]);
});

test('the lines of README under "Your model" run; those of purify as far as evaluate goes, for unlearning takes minutes', async () => {
  for (const line of await lines()) {
    const own = /^(model\.|tfjs-model|my-model|clean\.|out\/)/;
    const args = line.split(' ').map((arg) => (own.test(arg) ? at(arg) : arg));
    if (args[0] === 'purify') {
      await saveDataset(at('clean.safetensors'), await labelled(args));
      const out = args.indexOf('--out');
      // What `purify` says of flags that it does not know, it says before it reads anything.
      const refused = await run([...args, '--seed', 'x']);
      expect(refused.stderr).toBe('error: --seed: expected a whole number from 0 to 4294967295, got "x"\n');
      args.splice(out, 2);
      args.push('--json');
      args[0] = 'evaluate';
    }
    const { code, stdout, stderr } = await run(args);
    expect({ line, code, stderr }).toEqual({ line, code: 0, stderr });
    if (args[0] === 'evaluate') expect(JSON.parse(stdout)).toMatchObject({ cleanAccuracy: 1 });
    expect(stderr).not.toContain('input ');
  }
});
