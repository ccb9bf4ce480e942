import { getBackend, grads, mul, sum, tensor, tidy, type Tensor } from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { openWasm } from '../../offline/engine/wasm.ts';
import { forward, toDevice } from '../../src/network/forward.ts';
import { IMAGES } from '../../src/network/network.ts';
import type { HostWeights } from '../../src/network/safetensors.ts';
import { useBackend } from './backends.ts';
import { input, layerCases } from './layer-cases.ts';
import { expectClose, networkOf, randomImages, randomWeights } from './networks.ts';
import { uniform } from '../support/uniform.ts';
import { referenceForward } from './reference.ts';

describe.each([
  ['tfjs on cpu', 'cpu', () => useBackend('cpu')],
  ['the wasm engine', 'wasm', openWasm],
])('forward under a gradient with %s', (_, backend, open) => {
  beforeAll(async () => {
    await open();
  });

  it.each(layerCases)('gives %s the slope that finite differences of the reference have', (_, layers) => {
    expect(getBackend()).toBe(backend);
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
