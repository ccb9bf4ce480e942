/** What is exported comes back through the importer of its format as the same classifier. */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { measureImport } from '../../offline/bench/import.ts';
import { untrainedModel } from '../../offline/bench/untrained.ts';
import { exportModel } from '../../offline/export/export.ts';
import { completeDraft } from '../../offline/import/imported.ts';
import { readOnnx } from '../../offline/import/onnx/onnx.ts';
import { readTfjs } from '../../offline/import/tfjs/tfjs.ts';
import { useBackend } from '../network/backends.ts';
import { expectClose, randomImages } from '../network/networks.ts';
import { testDirectory } from '../support/directory.ts';
import { expectedLogits, networkCases, randomModel } from './cases.ts';

beforeAll(() => useBackend('wasm'));

/** What classifiers of images do not hold, and the importers refuse; the case `gelu` is one of pixels. */
const refused = ['geluTanh', 'softmax', 'selectChannels', 'reshape'];
const importable = networkCases.filter(([name, { layers }]) => {
  return name !== 'gelu' && !layers.some(({ type }) => refused.includes(type));
});
/** Without what takes layers in Keras that a network does not have. */
const inKeras = importable.filter(([, { layers }]) => {
  return !layers.some((item) => item.type === 'hardSwish' || ('poolSize' in item && typeof item.padding === 'object'));
});

describe.each([
  { format: 'onnx' as const, read: readOnnx, cases: importable },
  { format: 'tfjs' as const, read: readTfjs, cases: inKeras },
])('$format', ({ format, read, cases }) => {
  it.each(cases)('comes back with the same logits: %s', async (_, network) => {
    const path = join(await testDirectory(), 'model');
    const model = randomModel(network);
    expect(await exportModel(model, format, path)).toEqual({ ok: true, value: null });
    const draft = await read(path, { layout: 'nhwc' });
    if (!draft.ok) throw new Error(draft.error);
    const imported = completeDraft(draft.value, {});
    if (!imported.ok) throw new Error(imported.error);
    const images = randomImages(network, 2, 2);
    expectClose(expectedLogits(imported.value, images), expectedLogits(model, images), 1e-4);
  });
});

it('a ResNet-18 of 45 MB is imported from ONNX in less than 400 MB of memory', async () => {
  const file = join(await testDirectory(), 'resnet18.onnx');
  const model = untrainedModel('resnet18', 1);
  expect(await exportModel(model, 'onnx', file)).toEqual({ ok: true, value: null });
  const { size } = await stat(file);
  expect(size / 1e6).toBeCloseTo(44.8, 1);
  const { peakBytes, layers } = await measureImport(file);
  // No more may be gained by an import that does not happen: the weights alone are 44.7 MB.
  expect(layers).toBe(model.network.layers.length);
  expect(peakBytes / 1e6).toBeLessThan(400);
});
