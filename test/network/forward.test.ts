import fc from 'fast-check';
import { memory, tensor, tidy, type Tensor } from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { checkWeights, forward, toDevice } from '../../src/network/forward.ts';
import { cutCandidates } from '../../src/network/cuts.ts';
import { IMAGES, nodeShapes, type Layer, type Network } from '../../src/network/network.ts';
import type { HostWeights } from '../../src/network/safetensors.ts';
import { useBackend } from './backends.ts';
import { conv, input, inputs, layerCases } from './layer-cases.ts';
import { expectClose, networkOf, randomImages, randomNetwork, randomWeights } from './networks.ts';
import { referenceForward } from './reference.ts';

/** Every node for every image of the batch, from the reference, [B,...] by name. */
function expectedNodes(network: Network, weights: HostWeights, images: { shape: number[]; data: Float32Array }) {
  const batch = images.shape[0]!;
  const each = images.data.length / batch;
  const values = Array.from({ length: batch }, (_, index) =>
    referenceForward(network, weights, images.data.subarray(index * each, (index + 1) * each)),
  );
  return new Map([...values[0]!.keys()].map((name) => [name, values.flatMap((nodes) => [...nodes.get(name)!.data])]));
}

function expectSameAsReference(network: Network, seed: number, limit: number): void {
  const weights = randomWeights(network, seed);
  const images = randomImages(network, 2, seed + 1);
  const expected = expectedNodes(network, weights, images);
  tidy(() => {
    const device = toDevice(weights);
    const feeds = new Map([[IMAGES, tensor(images.data, images.shape)]]);
    const names = network.layers.map(({ name }) => name);
    const shapes = nodeShapes(network);
    if (!shapes.ok) throw new Error(shapes.error);
    forward(network, device, feeds, names).forEach((node, index) => {
      expect(node.shape).toEqual([2, ...shapes.value.get(names[index]!)!]);
      expectClose(node.dataSync(), expected.get(names[index]!)!, limit);
    });
    // Fetched alone, the output lets every convolution and dense layer run with its activation.
    expectClose(forward(network, device, feeds, ['logits'])[0]!.dataSync(), expected.get('logits')!, limit);
  });
}

describe.each(['cpu', 'wasm'] as const)('forward on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  it.each(layerCases)('computes %s like the scalar reference', (_, layers) => {
    expectSameAsReference(networkOf(input, layers), 1, 1e-5);
  });

  it.each([
    ['conv2d', conv],
    ['depthwise conv2d', { ...conv, groups: 4 }],
    ['grouped conv2d', { ...conv, groups: 2 }],
    ['dense', { type: 'dense' as const, name: 'x', inputs: ['vector'] as [string], units: 5, bias: true }],
  ])('gives the same result whether an activation runs in the kernel of its %s or after it', (_, layer) => {
    const before: Layer[] = layer.type === 'dense' ? [{ type: 'flatten', name: 'vector', inputs }] : [];
    for (const type of ['relu', 'relu6', 'elu', 'leakyRelu'] as const) {
      const fixed = { name: 'active', inputs: ['x'] as [string] };
      const active: Layer = type === 'leakyRelu' ? { type, ...fixed, alpha: 0.3 } : { type, ...fixed };
      expectSameAsReference(networkOf(input, [...before, layer, active]), 3, 1e-5);
    }
  });

  it('computes random graphs like the scalar reference', () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1, max: 12 }), (seed, count) => {
        expectSameAsReference(randomNetwork(seed, count), seed, 1e-4);
      }),
      { numRuns: 60 },
    );
  });

  it('starts from any cut and goes on to the same output, needing neither images nor the weights before it', () => {
    const network = randomNetwork(11, 14);
    const cuts = cutCandidates(network);
    expect(cuts.length).toBeGreaterThan(2);
    const device = toDevice(randomWeights(network, 11));
    const images = randomImages(network, 2, 12);
    const feeds = new Map([[IMAGES, tensor(images.data, images.shape)]]);
    const [whole, ...taps] = forward(network, device, feeds, ['logits', ...cuts]) as [Tensor, ...Tensor[]];
    cuts.forEach((cut, index) => {
      const later = network.layers.slice(network.layers.findIndex(({ name }) => name === cut) + 1);
      const needed = [...device].filter(([name]) => later.some((item) => name.startsWith(`${item.name}/`)));
      const [output] = forward(network, new Map(needed), new Map([[cut, taps[index]!]]), ['logits']) as [Tensor];
      expectClose(output.dataSync(), whole.dataSync(), 1e-6);
    });
  });

  it('leaves nothing on the device but what was fetched', () => {
    const network = randomNetwork(11, 14);
    const device = toDevice(randomWeights(network, 5));
    const images = randomImages(network, 1, 6);
    const feeds = new Map([[IMAGES, tensor(images.data, images.shape)]]);
    const before = memory().numTensors;
    forward(network, device, feeds, ['logits', cutCandidates(network)[1]!]);
    expect(memory().numTensors - before).toBe(2);
  });
});

describe('forward refuses', () => {
  beforeAll(() => useBackend('cpu'));
  const network = networkOf(input, [conv]);
  const weights = (): Map<string, Tensor> => toDevice(randomWeights(network, 1));

  it('to fetch a node that is nowhere, or to start from nothing', () => {
    expect(() => forward(network, weights(), new Map(), ['nowhere'])).toThrow('"nowhere" is needed');
    expect(() => forward(network, weights(), new Map(), ['logits'])).toThrow('"images" is needed');
  });

  it('to run a layer whose weight is missing, and names it', () => {
    const images = randomImages(network, 1, 2);
    const incomplete = weights();
    incomplete.delete('x/bias');
    const feeds = new Map([[IMAGES, tensor(images.data, images.shape)]]);
    expect(() => forward(network, incomplete, feeds, ['logits'])).toThrow('weight "x/bias" is missing');
  });
});

describe('checkWeights', () => {
  const network = networkOf(input, [{ type: 'batchNorm', name: 'norm', inputs, epsilon: 1e-3 }]);
  const f32 = (data: number[]) => ({ dtype: 'F32' as const, shape: [data.length], data: Float32Array.from(data) });
  const changed = (name: string, to: ReturnType<typeof f32>) => new Map(randomWeights(network, 1)).set(name, to);

  it('accepts the weights of the network, with others beside them', () => {
    expect(checkWeights(network, changed('quarantine/x', f32([1])))).toEqual({ ok: true, value: undefined });
  });

  it.each([
    ['norm/mean', f32([1, 2, 3]), 'expected F32 [4], got F32 [3]'],
    ['norm/beta', f32([1, 2, Number.NaN, 3]), 'finite numbers, got NaN at index 2'],
    ['norm/gamma', f32([1, 2, 3, Infinity]), 'finite numbers, got Infinity at index 3'],
    ['norm/variance', f32([1, 2, -1, 3]), 'got a negative number'],
  ])('names %s when it is wrong', (name, to, message) => {
    const checked = checkWeights(network, changed(name, to));
    expect(!checked.ok && checked.error).toContain(`tensor "${name}"`);
    expect(!checked.ok && checked.error).toContain(message);
  });

  it('names a tensor that is missing or of another element type', () => {
    const without = new Map(randomWeights(network, 1));
    without.delete('logits/bias');
    expect(checkWeights(network, without)).toEqual({
      ok: false,
      error: 'weights: tensor "logits/bias": expected F32 [3], got no such tensor',
    });
    const bytes = new Map(without).set('logits/bias', { dtype: 'I32', shape: [3], data: new Int32Array(3) });
    expect(checkWeights(network, bytes)).toMatchObject({ error: expect.stringContaining('got I32 [3]') as string });
  });
});

it('puts bytes and integers on the device as int32', async () => {
  await useBackend('cpu');
  const device = toDevice(
    new Map([
      ['bytes', { dtype: 'U8', shape: [2], data: Uint8Array.of(3, 255) }],
      ['labels', { dtype: 'I32', shape: [2], data: Int32Array.of(-1, 7) }],
    ]),
  );
  expect([...device.get('bytes')!.dataSync()]).toEqual([3, 255]);
  expect([...device.get('labels')!.dataSync()]).toEqual([-1, 7]);
});
