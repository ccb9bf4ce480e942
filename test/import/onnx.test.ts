/** Imported ONNX files against onnxruntime, on real images. */
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import type { GivenInput } from '../../offline/import/imported.ts';
import { useBackend } from '../network/backends.ts';
import { asFileWants, largestDifference, logitsOf, logSoftmax, realImages } from './images.ts';
import { fixtures, importFixture, onnxFile, type Fixture } from './onnx-fixtures.ts';
import { onnxAnswers } from './onnxruntime.ts';

beforeAll(() => useBackend('wasm'));

async function expectSameLogits({ name, ending, given }: Fixture): Promise<void> {
  const model = await importFixture(name, given);
  const images = realImages(model.network.input.channels as 1 | 3);
  const answers = await onnxAnswers(onnxFile(name), asFileWants(images, model.input));
  const logits = logitsOf(model, images);
  const ours = ending === 'logits' ? logits : logSoftmax(logits, model.network.labelNames.length);
  const theirs = ending === 'softmax' ? answers.map(Math.log) : answers;
  expect(largestDifference(ours, theirs)).toBeLessThan(1e-4);
}

describe('the logits of an imported file are those of onnxruntime', () => {
  it.each(fixtures)('$name', expectSameLogits);

  const settings: [string, GivenInput][] = [
    ['scale, mean and deviation', { scale: 2, mean: [0.1, 0.2, 0.3], std: [0.5, 0.6, 0.7] }],
    ['one mean for all channels', { scale: 255, mean: [127.5], std: [127.5] }],
    ['channels from blue to red', { channels: 'bgr', mean: [0.1, 0.2, 0.3] }],
  ];
  it.each(settings)('with the input given: %s', async (_, given) => {
    await expectSameLogits({ name: 'resnet8', ending: 'logits', given });
    await expectSameLogits({ name: 'tf2onnx-resnet', ending: 'logits', given });
  });
});

it('every ONNX file of the tests is imported, or known not to be', () => {
  const files = readdirSync(path.dirname(onnxFile(''))).filter((file) => file.endsWith('.onnx'));
  const names = files.map((file) => path.basename(file, '.onnx')).toSorted();
  const refused = ['dynamo-unsupported', 'keras-densenet', 'keras-mobile'];
  expect(names).toEqual([...fixtures.map(({ name }) => name), ...refused].toSorted());
});
