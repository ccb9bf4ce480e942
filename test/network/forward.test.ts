import fc from 'fast-check';
import { grads, memory, mul, sum, tensor, tidy, type Tensor } from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { checkWeights, forward, toDevice } from '../../src/network/forward.ts';
import { cutCandidates, IMAGES, nodeShapes, type Layer, type Network } from '../../src/network/network.ts';
import type { HostWeights } from '../../src/network/safetensors.ts';
import { useBackend } from './backends.ts';
import { networkOf, randomImages, randomNetwork, randomWeights, uniform } from './networks.ts';
import { referenceForward } from './reference.ts';

const inputs: [string] = [IMAGES];
const conv = {
  type: 'conv2d' as const,
  name: 'x',
  inputs,
  filters: 4,
  kernelSize: [3, 3] as [number, number],
  strides: [1, 1] as [number, number],
  dilations: [1, 1] as [number, number],
  groups: 1,
  padding: 'same' as 'same' | 'valid' | { top: number; bottom: number; left: number; right: number },
  bias: true,
};
const pool = { name: 'x', inputs, poolSize: [3, 2] as [number, number], strides: [2, 2] as [number, number] };
const uneven = { top: 2, bottom: 0, left: 1, right: 0 };

const activations = [
  'relu',
  'relu6',
  'elu',
  'selu',
  'sigmoid',
  'tanh',
  'swish',
  'hardSwish',
  'gelu',
  'geluTanh',
  'softmax',
] as const;
/** Scaled to about -6..6, so that every piece of the activation is met. */
const wide: Layer = {
  type: 'normalize',
  name: 'wide',
  inputs,
  mean: [0.5, 0.5, 0.5, 0.5],
  std: [0.08, 0.2, 0.15, 0.3],
};

const cases: [string, Layer[]][] = [
  ['normalize', [wide]],
  ['conv2d, same', [conv]],
  ['conv2d, valid, no bias', [{ ...conv, padding: 'valid', bias: false }]],
  ['conv2d, 1x1', [{ ...conv, kernelSize: [1, 1] }]],
  ['conv2d, even kernel, same', [{ ...conv, kernelSize: [2, 4] }]],
  ['conv2d, strided, same', [{ ...conv, strides: [2, 3] }]],
  ['conv2d, stride over the kernel', [{ ...conv, kernelSize: [1, 2], strides: [2, 3] }]],
  ['conv2d, uneven sides', [{ ...conv, strides: [2, 2], padding: uneven }]],
  ['conv2d, dilated', [{ ...conv, dilations: [2, 3] }]],
  ['conv2d, dilated and strided', [{ ...conv, dilations: [2, 1], strides: [2, 2], padding: uneven }]],
  ['conv2d, two groups', [{ ...conv, groups: 2, filters: 6 }]],
  ['conv2d, depthwise', [{ ...conv, groups: 4, padding: uneven, strides: [2, 2] }]],
  ['conv2d, depthwise with multiplier', [{ ...conv, groups: 4, filters: 8 }]],
  ['conv2d, depthwise, dilated', [{ ...conv, groups: 4, dilations: [2, 2] }]],
  ['conv2d, depthwise, dilated and strided', [{ ...conv, groups: 4, dilations: [2, 2], strides: [2, 1] }]],
  ['batchNorm', [{ type: 'batchNorm', name: 'x', inputs, epsilon: 1e-3 }]],
  ['add', [wide, { type: 'add', name: 'x', inputs: [IMAGES, 'wide', IMAGES] }]],
  ['concat', [wide, { type: 'concat', name: 'x', inputs: ['wide', IMAGES] }]],
  ['pad', [{ type: 'pad', name: 'x', inputs, padding: uneven }]],
  ['maxPool, same', [wide, { ...pool, inputs: ['wide'], type: 'maxPool', padding: 'same' }]],
  ['maxPool, valid', [{ ...pool, type: 'maxPool', padding: 'valid' }]],
  ['maxPool, uneven sides', [wide, { ...pool, inputs: ['wide'], type: 'maxPool', padding: uneven }]],
  ['averagePool, same', [{ ...pool, type: 'averagePool', padding: 'same' }]],
  ['averagePool, valid', [{ ...pool, type: 'averagePool', padding: 'valid' }]],
  ['averagePool, uneven sides', [{ ...pool, type: 'averagePool', padding: uneven }]],
  ['globalAveragePool', [{ type: 'globalAveragePool', name: 'x', inputs }]],
  ['globalMaxPool', [{ type: 'globalMaxPool', name: 'x', inputs }]],
  ['flatten', [{ type: 'flatten', name: 'x', inputs }]],
  ['reshape', [{ type: 'reshape', name: 'x', inputs, shape: [14, 4, 3] }]],
  ['leakyRelu', [wide, { type: 'leakyRelu', name: 'x', inputs: ['wide'], alpha: 0.1 }]],
  ...activations.map((type): [string, Layer[]] => [type, [wide, { type, name: 'x', inputs: ['wide'] }]]),
];
const input = [7, 6, 4];

const expectClose = (actual: ArrayLike<number>, expected: ArrayLike<number>, limit: number): void => {
  expect(actual.length).toBe(expected.length);
  const differences = Array.from(
    expected,
    (value, index) => Math.abs(value - actual[index]!) / Math.max(1, Math.abs(value)),
  );
  expect(differences.findIndex((difference) => !(difference <= limit))).toBe(-1);
};

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

  it.each(cases)('computes %s like the scalar reference', (_, layers) => {
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

describe('forward under a gradient', () => {
  beforeAll(() => useBackend('cpu'));

  it.each(cases)('gives %s the slope that finite differences of the reference have', (_, layers) => {
    const network = networkOf(input, layers);
    const host = randomWeights(network, 21);
    const images = randomImages(network, 1, 22);
    const loss = (weights: HostWeights, image: ArrayLike<number>): number => {
      const next = uniform(23);
      return referenceForward(network, weights, image)
        .get('logits')!
        .data.reduce((total, value) => total + next() * value, 0);
    };
    const trainable = [...host.keys()].filter((name) => !name.startsWith('logits/'));
    const next = uniform(23);
    const directions = tensor([next(), next(), next()], [1, 3]);
    const device = toDevice(host);
    const slopes = tidy(() =>
      grads((x: Tensor, ...given: Tensor[]) => {
        const weights = new Map([...device, ...trainable.map((name, index) => [name, given[index]!] as const)]);
        return sum(mul(forward(network, weights, new Map([[IMAGES, x]]), ['logits'])[0]!, directions));
      })([tensor(images.data, images.shape), ...trainable.map((name) => device.get(name)!)]).map((slope) =>
        slope.dataSync(),
      ),
    );
    const step = 1e-5;
    const numeric = (values: ArrayLike<number>, change: (moved: Float64Array) => number): number[] =>
      Array.from(values, (value, index) => {
        const moved = (by: number): number => change(Float64Array.from(values).with(index, value + by));
        return (moved(step) - moved(-step)) / (2 * step);
      });
    expectClose(
      slopes[0]!,
      numeric(images.data, (image) => loss(host, image)),
      2e-5,
    );
    trainable.forEach((name, index) => {
      const { data, shape } = host.get(name)!;
      // The reference takes any numbers, so float64 weights stand in for float32 ones here.
      const change = (moved: Float64Array): number =>
        loss(new Map(host).set(name, { dtype: 'F32', shape, data: moved as unknown as Float32Array }), images.data);
      expectClose(slopes[index + 1]!, numeric(data, change), 2e-5);
    });
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
