/** TensorFlow.js LayersModels against tfjs-layers itself, on real images. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { tensor, tidy, type Tensor } from '@tensorflow/tfjs-core';
import { model, type LayersModel, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { beforeAll, expect, it } from 'vitest';
import { readTfjs } from '../../offline/import/tfjs/tfjs.ts';
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
