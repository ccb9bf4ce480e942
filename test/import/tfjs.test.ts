/** TensorFlow.js LayersModels against tfjs-layers itself, on real images. */
import { readFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { tensor, tidy, type Tensor } from '@tensorflow/tfjs-core';
import { model, type LayersModel, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { beforeAll, expect, it } from 'vitest';
import { patchTfjs, readTfjs } from '../../offline/import/tfjs/tfjs.ts';
import { decodeSafetensors } from '../../src/network/safetensors.ts';
import { useBackend } from '../network/backends.ts';
import { testDirectory } from '../support/directory.ts';
import { importedLogits, largestDifference } from './imported-logits.ts';
import { randomise, tfjsModels, writeTfjs } from './tfjs-models.ts';

/** The first 32 of the example's test images [32,28,28,1], in 0..1. */
function realImages(): Float32Array {
  const file = path.join(import.meta.dirname, '../../offline/example/test-2000.safetensors');
  const decoded = decodeSafetensors(readFileSync(file));
  if (!decoded.ok) throw new Error(decoded.error);
  return Float32Array.from(decoded.value.tensors.get('images')!.data.subarray(0, 32 * 784), (value) => value / 255);
}

const shape = [32, 28, 28, 1];

/** The logits of tfjs-layers: what a softmax that ends the model is given. */
function expectedLogits(made: LayersModel, images: Float32Array): Float32Array {
  const last = made.layers.at(-1)!;
  const outputs = last.getClassName() === 'Softmax' ? (last.input as SymbolicTensor) : made.outputs;
  const logits = model({ inputs: made.inputs, outputs });
  return tidy(() => (logits.predict(tensor(images, shape)) as Tensor).dataSync() as Float32Array);
}

beforeAll(() => useBackend('wasm'));

it.each(tfjsModels)('a %s model gives the answers of tfjs-layers', async (name, make) => {
  const folder = await testDirectory();
  const made = make();
  randomise(made, 1);
  await writeTfjs(made, folder);
  const images = realImages();
  const draft = await readTfjs(path.join(folder, 'model.json'), {});
  const logits = importedLogits(draft, images, shape);
  // It rescales pixels itself, which the importer finds out.
  const scale = name === 'sequential' ? 255 : 1;
  const expected = expectedLogits(
    made,
    images.map((value) => value * scale),
  );
  expect(largestDifference(logits, expected)).toBeLessThanOrEqual(1e-4);
  expect(importedLogits(await readTfjs(folder, {}), images, shape)).toEqual(logits);
});

it.each(tfjsModels)(
  'a changed weight of a %s model changes its own bytes alone, across shards, and is read back',
  async (_, make) => {
    const folder = await testDirectory();
    const [file, copy] = [path.join(folder, 'model'), path.join(folder, 'copy')];
    const made = make();
    randomise(made, 2);
    await writeTfjs(made, file, 1002);
    const before = await valuesOf(file);
    const [tensor, old] = [...before].reduce((large, entry) => (entry[1].length > large[1].length ? entry : large));
    const values = old.map((value) => 1 - value);
    expect(await patchTfjs(file, new Map([[tensor, values]]), copy)).toEqual({ ok: true, value: null });

    expect(await valuesOf(copy)).toEqual(new Map(before).set(tensor, values));
    const [names, bytes] = await shardsOf(file);
    const [copiedNames, copied] = await shardsOf(copy);
    expect(copiedNames).toEqual(names);
    const start = bytes.indexOf(Buffer.from(old.buffer, old.byteOffset, old.byteLength));
    bytes.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), start);
    expect(copied.equals(bytes)).toBe(true);
    expect(await readFile(path.join(copy, 'model.json'))).toEqual(await readFile(path.join(file, 'model.json')));
  },
);

it('refuses to patch weights that the model lacks, or with other sizes, and a folder that holds something', async () => {
  const folder = await testDirectory();
  const [file, copy] = [path.join(folder, 'model'), path.join(folder, 'copy')];
  await writeTfjs(tfjsModels[0]![1](), file);
  const [tensor, values] = [...(await valuesOf(file))][0]!;
  const patch = async (name: string, count: number, out: string): Promise<string> => {
    const patched = await patchTfjs(file, new Map([[name, new Float32Array(count)]]), out);
    return patched.ok ? 'patched' : patched.error;
  };
  expect(await patch('none', 1, copy)).toContain('expected the weights none');
  expect(await patch(tensor, 1, copy)).toContain(`expected ${values.length} numbers`);
  expect(await patch(tensor, values.length, file)).toContain('new or empty');
});

async function valuesOf(file: string): Promise<Map<string, Float32Array>> {
  const draft = await readTfjs(file, {});
  if (!draft.ok) throw new Error(draft.error);
  return new Map(
    [...draft.value.weights.values()].flatMap(({ data, from }) => (from ? [[from.tensor, data] as const] : [])),
  );
}

/** The names of the shards in a folder, and their bytes one after another. */
async function shardsOf(folder: string): Promise<[string[], Buffer]> {
  const names = (await readdir(folder))
    .filter((name) => name !== 'model.json')
    .toSorted(new Intl.Collator('en', { numeric: true }).compare);
  return [names, Buffer.concat(await Promise.all(names.map((name) => readFile(path.join(folder, name)))))];
}
