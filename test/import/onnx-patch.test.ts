/** ONNX files with some of their weights replaced. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { randomSource } from '../../offline/engine/random.ts';
import { toFileOrder, type ImportedModel } from '../../offline/import/imported.ts';
import { patchOnnx } from '../../offline/import/onnx/patch.ts';
import { useBackend } from '../network/backends.ts';
import { testDirectory } from '../support/directory.ts';
import { asFileWants, largestDifference, logitsOf, logSoftmax, realImages } from './images.ts';
import { fixtures, importFixture, onnxFile, type Fixture } from './onnx-fixtures.ts';
import { onnxAnswers } from './onnxruntime.ts';

beforeAll(() => useBackend('wasm'));

/** Half of the values halved, which every floating-point type of a file can hold. */
function halved(values: Float32Array, purpose: string): Float32Array {
  const random = randomSource(1, purpose);
  return values.map((value) => (random.integer(2) ? value : value / 2));
}

/** The model with these of its weights changed, and the file patched in the same way, in a folder of its own. */
async function changed(
  model: ImportedModel,
  name: string,
  weights: readonly string[],
): Promise<[ImportedModel, string]> {
  const tensors = new Map<string, Float32Array>();
  const changedWeights = new Map(model.weights);
  for (const weight of weights) {
    const place = model.places.get(weight)!;
    const { shape, data } = model.weights.get(weight)!;
    // Weights that share a tensor of the file have to change alike.
    const values = tensors.get(place.tensor) ?? toFileOrder(halved(data as Float32Array, place.tensor), place);
    tensors.set(place.tensor, values);
    changedWeights.set(weight, { dtype: 'F32', shape, data: halved(data as Float32Array, place.tensor) });
  }
  const out = path.join(await testDirectory(), `${name}.onnx`);
  expect(await patchOnnx(onnxFile(name), tensors, out)).toEqual({ ok: true, value: null });
  return [{ ...model, weights: changedWeights }, out];
}

async function expectSameAnswers(model: ImportedModel, file: string, ending: Fixture['ending']): Promise<Float32Array> {
  const images = realImages(model.network.input.channels as 1 | 3, 4);
  const answers = await onnxAnswers(file, asFileWants(images, model.input));
  const logits = logitsOf(model, images);
  const ours = ending === 'logits' ? logits : logSoftmax(logits, model.network.labelNames.length);
  expect(largestDifference(ours, ending === 'softmax' ? answers.map(Math.log) : answers)).toBeLessThan(1e-4);
  return answers;
}

describe('with every weight that has a place changed, onnxruntime and the network still agree', () => {
  it.each(fixtures)('$name', async ({ name, ending, given }) => {
    const model = await importFixture(name, given);
    expect(model.places.size).toBeGreaterThan(3);
    const [other, file] = await changed(model, name, [...model.places.keys()]);
    const answers = await expectSameAnswers(other, file, ending);
    const before = await expectSameAnswers(model, onnxFile(name), ending);
    expect(largestDifference(answers, before)).toBeGreaterThan(0.01);
  });
});

/** Where two files of one length differ: the first and last byte, and how many lie from one to the other. */
function changedSpan(before: Uint8Array, after: Uint8Array): number {
  expect(after.length).toBe(before.length);
  const differs = before.map((byte, index) => Number(byte !== after[index]));
  const first = differs.indexOf(1);
  return first < 0 ? 0 : differs.lastIndexOf(1) - first + 1;
}

describe('one weight changed at a time changes the bytes of its tensor alone', () => {
  const stored: [name: string, elementBytes: number][] = [
    ['lenet', 4],
    ['lenet-float-data', 4],
    ['lenet-half', 2],
    ['lenet-double', 8],
    ['resnet8-constants', 4],
    ['dynamo-resnet8', 4],
    ['normalised', 4],
  ];

  it.each(stored)('%s', async (name, elementBytes) => {
    const model = await importFixture(name);
    for (const [weight, { shape }] of model.places) {
      const [other, file] = await changed(model, name, [weight]);
      await expectSameAnswers(other, file, name === 'normalised' ? 'softmax' : 'logits');
      const suffixes = name.startsWith('dynamo') ? ['', '.data'] : [''];
      const spans = suffixes.map((suffix) =>
        changedSpan(readFileSync(`${onnxFile(name)}${suffix}`), readFileSync(`${file}${suffix}`)),
      );
      const span = spans.reduce((sum, length) => sum + length, 0);
      const size = shape.reduce((product, axis) => product * axis, 1) * (shape.length < 2 ? 4 : elementBytes);
      expect(span, weight).toBeGreaterThan(0);
      expect(span, weight).toBeLessThanOrEqual(size);
      expect(
        spans.filter((length) => length > 0),
        weight,
      ).toHaveLength(1);
    }
  });
});
