import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { toFileOrder, type FileTensor } from '../../offline/import/imported.ts';
import { openModel, type OpenedModel } from '../../offline/import/open.ts';
import { changedTensors, placeOfModel, writeBack } from '../../offline/import/write-back.ts';
import { cutCandidates, headWeightShapes } from '../../src/network/cuts.ts';
import { foldBatchNorm } from '../../src/network/fold.ts';
import type { HostTensor, HostWeights } from '../../src/network/safetensors.ts';
import { useBackend } from '../network/backends.ts';
import { expectClose } from '../network/networks.ts';
import { uniform } from '../support/uniform.ts';
import { testDirectory } from '../support/directory.ts';
import { asFileWants, largestDifference, logitsOf, realImages } from './images.ts';
import { onnxAnswers } from './onnxruntime.ts';
import { tfjsModels, randomise, writeTfjs } from './tfjs-models.ts';

const ROOT = join(import.meta.dirname, '..', '..');

beforeAll(() => useBackend('wasm'));

async function open(path: string): Promise<OpenedModel> {
  const model = await openModel(path, {}, 'none');
  if (!model.ok) throw new Error(model.error);
  return model.value;
}

/** The folded network with changed weights behind a cut in its middle, as unlearning leaves it. */
function unlearned({ network, weights }: OpenedModel) {
  const folded = foldBatchNorm(network, weights);
  const cuts = cutCandidates(folded.network);
  const head = headWeightShapes(folded.network, cuts[cuts.length >> 1]!);
  const next = uniform(1);
  const changed = [...folded.weights].map(([name, tensor]): [string, HostTensor] => {
    if (!head.has(name)) return [name, tensor];
    return [
      name,
      { ...tensor, data: Float32Array.from(tensor.data, (value) => value + 0.1 * (next() - 0.5)) } as HostTensor,
    ];
  });
  return { network: folded.network, weights: new Map(changed), head };
}

const fixture = (path: string) => (): Promise<string> => Promise.resolve(join(ROOT, path));
const forms: [string, string, () => Promise<string>][] = [
  ['onnx', 'out.onnx', fixture('test/models/onnx/resnet8.onnx')],
  ['onnx', 'out.onnx', fixture('test/models/onnx/mobilenetv2.onnx')],
  ['onnx', 'out.onnx', fixture('test/models/onnx/dynamo-resnet8.onnx')],
  ['h5', 'out.h5', fixture('test/models/keras/resnet.h5')],
  ['h5', 'out.h5', fixture('test/models/keras/lenet.keras2.h5')],
  ['keras', 'out.keras', fixture('test/models/keras/mobile.keras')],
  ['network', 'out.model', fixture('offline/example/victim')],
  ...tfjsModels.map(([name, make]): [string, string, () => Promise<string>] => [
    'tfjs',
    'out.tfjs',
    async () => {
      const folder = join(await testDirectory(), name);
      const made = make();
      randomise(made, 1);
      await writeTfjs(made, folder);
      return folder;
    },
  ]),
];

describe('a model that is written back in its own form', () => {
  test.each(forms)('%s as %s: has the purified weights, and every other one to the bit', async (format, name, make) => {
    const model = await open(await make());
    expect(model.source.format).toBe(format);
    const purified = unlearned(model);
    const out = placeOfModel(model, join(await testDirectory(), 'out/'))!;
    expect(out.endsWith(name)).toBe(true);
    expect(await writeBack(model, purified.weights, out)).toEqual({ ok: true, value: null });
    const again = await open(out);
    expect(again.network).toEqual(model.network);
    const folded = foldBatchNorm(again.network, again.weights).weights;
    for (const [weight, { data }] of purified.weights) {
      if (purified.head.has(weight)) expectClose(folded.get(weight)!.data, data, 1e-5);
      else expect(folded.get(weight)!.data, weight).toEqual(data);
    }
    expect(purified.head.size).toBeGreaterThan(0);
    expect(await writeBack(model, purified.weights, out)).toMatchObject({ ok: false });
  });

  test('answers in onnxruntime what the purified network answers here', async () => {
    const model = await open(join(ROOT, 'test/models/onnx/resnet8.onnx'));
    const purified = unlearned(model);
    const out = join(await testDirectory(), 'purified.onnx');
    expect(await writeBack(model, purified.weights, out)).toMatchObject({ ok: true });
    const images = realImages(3, 4);
    const answers = await onnxAnswers(out, asFileWants(images, model.source.input!));
    expect(largestDifference(logitsOf(purified, images), answers)).toBeLessThan(1e-4);
    expect(largestDifference(logitsOf(model, images), answers)).toBeGreaterThan(1e-2);
  });

  test('is the very file where nothing changed', async () => {
    const path = join(ROOT, 'test/models/onnx/resnet8.onnx');
    const model = await open(path);
    const out = join(await testDirectory(), 'same.onnx');
    expect(await writeBack(model, foldBatchNorm(model.network, model.weights).weights, out)).toMatchObject({
      ok: true,
    });
    expect(await readFile(out)).toEqual(await readFile(path));
  });

  test('lies beside the release, and a release has none', async () => {
    const model = await open(join(ROOT, 'offline/example/victim'));
    expect(placeOfModel(model, 'out/release//')).toBe('out/release.model');
    expect(placeOfModel({ ...model, source: { ...model.source, format: 'release' } }, 'out')).toBeNull();
  });

  test('is not written where something is already', async () => {
    const model = await open(join(ROOT, 'test/models/keras/lenet.keras'));
    const out = join(await testDirectory(), 'out.keras');
    await mkdir(out);
    const refused = await writeBack(model, unlearned(model).weights, out);
    expect(refused).toMatchObject({ ok: false, error: expect.stringContaining(out) as string });
  });
});

describe('changedTensors', () => {
  const tensor = (...values: number[]): HostTensor => ({
    dtype: 'F32',
    shape: [2, values.length / 2],
    data: Float32Array.from(values),
  });
  const turned: FileTensor = { tensor: 'shared', shape: [3, 2], axes: [1, 0] };
  const before: HostWeights = new Map([
    ['a/kernel', tensor(1, 2, 3, 4, 5, 6)],
    ['b/kernel', tensor(1, 2, 3, 4, 5, 6)],
    ['c/kernel', tensor(7, 8)],
  ]);
  const places = new Map([
    ['a/kernel', turned],
    ['b/kernel', turned],
  ]);
  const changed = (...names: string[]): HostWeights =>
    new Map([...before, ...names.map((name) => [name, tensor(0, 2, 3, 4, 5, 6)] as const)]);

  test('are in the order of the file, once for weights that share one and changed alike', () => {
    const tensors = changedTensors(before, changed('a/kernel', 'b/kernel'), places);
    expect(tensors).toEqual({ ok: true, value: new Map([['shared', Float32Array.of(0, 4, 2, 5, 3, 6)]]) });
    expect(toFileOrder(Float32Array.of(0, 2, 3, 4, 5, 6), turned)).toEqual(Float32Array.of(0, 4, 2, 5, 3, 6));
  });

  test('are none where nothing changed', () => {
    expect(changedTensors(before, changed(), places)).toEqual({ ok: true, value: new Map() });
  });

  test('do not exist where only one of the weights that share a tensor changed', () => {
    for (const name of ['a/kernel', 'b/kernel']) {
      expect(changedTensors(before, changed(name), places)).toEqual({
        ok: false,
        error: 'the unlearned weight "b/kernel" shares the tensor "shared" with one that differs now',
      });
    }
  });

  test('do not exist where a changed weight has no place in the file', () => {
    expect(changedTensors(before, changed('c/kernel'), places)).toEqual({
      ok: false,
      error: 'the unlearned weight "c/kernel" is not a tensor of its own in the file',
    });
  });
});
