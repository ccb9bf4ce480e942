import { readFileSync } from 'node:fs';
import * as tf from '@tensorflow/tfjs-core';
import { main } from 'assemblyscript/asc';
import { beforeAll, describe, expect, test } from 'vitest';
import { randomSource } from '../../offline/engine/random.ts';
import { openWasm } from '../../offline/engine/wasm.ts';

const root = new URL('../../', import.meta.url);
const random = randomSource(3, 'convolutions');
const between = (least: number, most: number): number => least + random.integer(most - least + 1);
const normal = (shape: number[]): Float32Array => random.normal(shape.reduce((a, b) => a * b, 1));

beforeAll(openWasm);

type Pair = [number, number];
type Geometry = {
  images: [number, number, number, number];
  /** Height and width. */
  filter: Pair;
  strides: Pair;
  outputs: number;
  pad: 'same' | 'valid' | tf.backend_util.ExplicitPadding;
  activation: tf.fused.Activation;
};

/** What both ways of convolving take: three channels or more on either side, and any padding. */
function drawSizes(largestChannels: number): Pick<Geometry, 'images' | 'outputs' | 'pad' | 'activation'> {
  const border = (): Pair => [between(0, 3), between(0, 3)];
  const pad = (['same', 'valid', [[0, 0], border(), border(), [0, 0]]] as const)[between(0, 2)]!;
  const activation = (['linear', 'relu', 'relu6', 'elu'] as const)[between(0, 3)]!;
  const images: Geometry['images'] = [between(1, 4), between(5, 19), between(5, 19), between(3, largestChannels)];
  return { images, outputs: between(3, 40), pad: pad as Geometry['pad'], activation };
}

/** 3 x 3 with stride 1, and 32 tiles or more. */
function drawWinograd(largestChannels = 36): Geometry {
  const sizes = drawSizes(largestChannels);
  const [, height, width, channels] = sizes.images;
  const tiles = Math.ceil((height - 2) / 4) * Math.ceil((width - 2) / 4);
  const images: Geometry['images'] = [Math.ceil(32 / tiles) + between(0, 2), height, width, channels];
  return { ...sizes, images, filter: [3, 3], strides: [1, 1] };
}

/** Any other filter, with or without strides. */
function drawWindows(largestChannels = 36): Geometry {
  const filter: Pair = [between(1, 5), between(1, 5)];
  const least = filter[0] === 3 && filter[1] === 3 ? 2 : 1;
  return { ...drawSizes(largestChannels), filter, strides: [between(least, 3), between(1, 3)] };
}

const filterShape = ({ images, filter, outputs }: Geometry): Geometry['images'] => [...filter, images[3], outputs];

const drawValues = (geometry: Geometry): Float32Array[] =>
  [geometry.images, filterShape(geometry), [geometry.outputs]].map(normal);

function convolve(backend: string, geometry: Geometry, [x, filter, bias]: Float32Array[]): Float32Array {
  const { images, strides, pad, activation } = geometry;
  void tf.setBackend(backend);
  return tf.tidy(() => {
    const call = {
      x: tf.tensor4d(x!, images),
      filter: tf.tensor4d(filter!, filterShape(geometry)),
      strides,
      pad: pad as 'same',
      bias: tf.tensor1d(bias!),
      activation,
    };
    return tf.fused.conv2d(call).dataSync() as Float32Array;
  });
}

/** The gradients of images and filter. */
function gradientsOf(backend: string, geometry: Geometry, values: Float32Array[], seed: number): Float32Array[] {
  const { images, strides, pad } = geometry;
  void tf.setBackend(backend);
  return tf.tidy(() => {
    const [x, filter] = [tf.tensor4d(values[0]!, images), tf.tensor4d(values[1]!, filterShape(geometry))];
    const run = (a: tf.Tensor, b: tf.Tensor): tf.Tensor =>
      tf.conv2d(a as tf.Tensor4D, b as tf.Tensor4D, strides, pad as 'same');
    const { shape, size } = run(x, filter);
    const dy = tf.tensor(randomSource(seed, 'dy').normal(size), shape);
    return tf
      .grads(run)([x, filter], dy)
      .map((gradient) => gradient.dataSync() as Float32Array);
  });
}

/** The largest difference, relative to the larger of 1 and the largest of the sums. */
function difference(got: Float32Array, expected: Float32Array, sums: Float32Array): number {
  const scale = sums.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
  return got.reduce((most, value, index) => Math.max(most, Math.abs(value - expected[index]!)), 0) / scale;
}

describe('the convolution kernels', () => {
  test('are what their source compiles to', async () => {
    const { scripts } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8')) as {
      scripts: Record<string, string>;
    };
    const flags = scripts['kernels']!.split(' ').slice(1);
    const written = new Map<string, Uint8Array | string>();
    const { error } = await main([...flags, '--baseDir', root.pathname], {
      writeFile: (name: string, contents: Uint8Array | string) => void written.set(name, contents),
    });
    expect(error).toBeNull();
    const [compiled] = written.values();
    expect(Buffer.from(compiled as Uint8Array)).toEqual(readFileSync(new URL('offline/engine/kernels.wasm', root)));
  });

  test('take every other filter: the last bits differ from those of images with so few channels that they are left to the backend', async () => {
    await tf.setBackend('wasm');
    const [taken, left] = tf.tidy(() => {
      const x = tf.tensor4d(normal([1, 16, 16, 2]), [1, 16, 16, 2]);
      const filter = tf.tensor4d(normal([5, 5, 2, 8]), [5, 5, 2, 8]);
      const more = tf.pad(x, [
        [0, 0],
        [0, 0],
        [0, 0],
        [0, 2],
      ]) as tf.Tensor4D;
      const wide = tf.pad(filter, [
        [0, 0],
        [0, 0],
        [0, 2],
        [0, 0],
      ]) as tf.Tensor4D;
      return [tf.conv2d(more, wide, 2, 'same').dataSync(), tf.conv2d(x, filter, 2, 'same').dataSync()];
    });
    expect(difference(taken as Float32Array, left as Float32Array, left as Float32Array)).toBeLessThan(1e-6);
    expect(taken).not.toEqual(left);
  });

  test('take 3 x 3 filters: the last bits differ from those of a batch of so few tiles that it is left to the backend', async () => {
    await tf.setBackend('wasm');
    const [taken, left] = tf.tidy(() => {
      const x = tf.tensor4d(normal([2, 16, 16, 8]), [2, 16, 16, 8]);
      const filter = tf.tensor4d(normal([3, 3, 8, 8]), [3, 3, 8, 8]);
      const first = tf.slice(x, [0, 0, 0, 0], [1, 16, 16, 8]);
      const both = tf.conv2d(x, filter, 1, 'same');
      return [tf.slice(both, [0, 0, 0, 0], first.shape).dataSync(), tf.conv2d(first, filter, 1, 'same').dataSync()];
    });
    expect(taken).not.toEqual(left);
  });
});

describe.each([
  ['3 x 3 filters with stride 1', drawWinograd],
  ['other filters and strides', drawWindows],
] as const)('the convolution kernels for %s', (_, draw) => {
  test('equal the cpu backend for every size, padding, bias and activation', () => {
    for (let round = 0; round < 60; round++) {
      const geometry = draw();
      const values = drawValues(geometry);
      const expected = convolve('cpu', geometry, values);
      const got = convolve('wasm', geometry, values);
      // Activations cut off what the rounding is relative to.
      const sums = convolve('cpu', { ...geometry, activation: 'linear' }, values);
      expect(got.length).toBe(expected.length);
      expect(difference(got, expected, sums), JSON.stringify(geometry)).toBeLessThan(1e-5);
    }
  });

  test('have the gradients of the cpu backend, for images and filters', () => {
    for (let round = 0; round < 8; round++) {
      // The cpu backend takes seconds for the gradients of many channels.
      const geometry = draw(12);
      const values = drawValues(geometry);
      const expected = gradientsOf('cpu', geometry, values, round);
      gradientsOf('wasm', geometry, values, round).forEach((gradient, index) => {
        expect(gradient.length).toBe(expected[index]!.length);
        const unlike = difference(gradient, expected[index]!, expected[index]!);
        expect(unlike, JSON.stringify(geometry)).toBeLessThan(1e-5);
      });
    }
  });

  test('give the same bits whatever ran before', () => {
    const geometry = draw();
    const values = drawValues(geometry);
    const first = convolve('wasm', geometry, values);
    const gradients = gradientsOf('wasm', geometry, values, 1);
    const larger: Geometry = { ...geometry, images: [geometry.images[0] + 3, 24, 24, 40], outputs: 48 };
    convolve('wasm', larger, drawValues(larger));
    expect(convolve('wasm', geometry, values)).toEqual(first);
    expect(gradientsOf('wasm', geometry, values, 1)).toEqual(gradients);
  });
});
