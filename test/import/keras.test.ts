/** Keras files against the answers that Keras gave: test/models/make_keras.py recorded them. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { readKeras } from '../../offline/import/keras/keras.ts';
import { decodeSafetensors, type HostTensor } from '../../src/network/safetensors.ts';
import { useBackend } from '../network/backends.ts';
import { importedLogits, largestDifference } from './imported-logits.ts';

const folder = path.join(import.meta.dirname, '../models/keras');

function golden(name: string): { images: HostTensor; logits: HostTensor } {
  const decoded = decodeSafetensors(readFileSync(path.join(folder, `${name}.golden.safetensors`)));
  if (!decoded.ok) throw new Error(decoded.error);
  return { images: decoded.value.tensors.get('images')!, logits: decoded.value.tensors.get('logits')! };
}

beforeAll(() => useBackend('wasm'));

it.each([
  ['lenet.h5', 1],
  ['lenet.keras', 1],
  ['lenet.keras2.h5', 1],
  ['vgg-elu.h5', 255],
  ['vgg-elu.keras', 255],
  ['vgg-elu.keras2.h5', 255],
  ['resnet.h5', 1],
  ['resnet.keras', 1],
  ['mobile.h5', 1],
  ['mobile.keras', 1],
  ['mobile.keras2.h5', 1],
  ['densenet.h5', 255],
  ['densenet.keras', 255],
  ['grouped.h5', 1],
  ['grouped.keras', 1],
])('%s gives the logits that Keras gave, on images times %d', async (file, scale) => {
  const draft = await readKeras(path.join(folder, file), {});
  expect(draft).toMatchObject({ ok: true });
  expect(draft.ok && (draft.value.input.scale ?? 1)).toBe(scale);
  const { images, logits } = golden(file.split('.')[0]!);
  const scaled = Float32Array.from(images.data as Float32Array, (value) => value / scale);
  const answers = importedLogits(draft, scaled, images.shape);
  expect(largestDifference(answers, logits.data as Float32Array)).toBeLessThanOrEqual(1e-4);
});
