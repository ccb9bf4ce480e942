import { readFileSync } from 'node:fs';
import * as tf from '@tensorflow/tfjs-core';
import { main } from 'assemblyscript/asc';
import { beforeAll, describe, expect, test } from 'vitest';
import { randomSource } from '../../offline/engine/random.ts';
import { openWasm } from '../../offline/engine/wasm.ts';

const root = new URL('../../', import.meta.url);
const random = randomSource(3, 'winograd');
const between = (least: number, most: number): number => least + random.integer(most - least + 1);
const normal = (shape: number[]): Float32Array => random.normal(shape.reduce((a, b) => a * b, 1));

beforeAll(openWasm);

type Geometry = {
  images: [number, number, number, number];
  outputs: number;
  pad: 'same' | 'valid' | tf.backend_util.ExplicitPadding;
  activation: tf.fused.Activation;
};

/** A geometry that the kernel takes: 32 tiles or more, three channels or more on either side. */
function drawGeometry(largestChannels = 36): Geometry {
  const [height, width] = [between(5, 19), between(5, 19)];
  const tiles = Math.ceil((height - 2) / 4) * Math.ceil((width - 2) / 4);
  const border = (): [number, number] => [between(0, 3), between(0, 3)];
  const pad = (['same', 'valid', [[0, 0], border(), border(), [0, 0]]] as const)[between(0, 2)]!;
  const activation = (['linear', 'relu', 'relu6', 'elu'] as const)[between(0, 3)]!;
  const images: Geometry['images'] = [
    Math.ceil(32 / tiles) + between(0, 2),
    height,
    width,
    between(3, largestChannels),
  ];
  return { images, outputs: between(3, 40), pad: pad as Geometry['pad'], activation };
}

function convolve(backend: string, geometry: Geometry, [x, filter, bias]: Float32Array[]): Float32Array {
  const { images, outputs, pad, activation } = geometry;
  void tf.setBackend(backend);
  return tf.tidy(() => {
    const call = {
      x: tf.tensor4d(x!, images),
      filter: tf.tensor4d(filter!, [3, 3, images[3], outputs]),
      strides: 1 as const,
      pad: pad as 'same',
      bias: tf.tensor1d(bias!),
      activation,
    };
    return tf.fused.conv2d(call).dataSync() as Float32Array;
  });
}

/** The largest difference, relative to the larger of 1 and the largest of the sums. */
function difference(got: Float32Array, expected: Float32Array, sums: Float32Array): number {
  const scale = sums.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
  return got.reduce((most, value, index) => Math.max(most, Math.abs(value - expected[index]!)), 0) / scale;
}

describe('the convolution kernel', () => {
  test('is what its source compiles to', async () => {
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

  test('equals the cpu backend for every size, padding, bias and activation', () => {
    for (let round = 0; round < 60; round++) {
      const geometry = drawGeometry();
      const { images, outputs } = geometry;
      const values = [normal(images), normal([3, 3, images[3], outputs]), normal([outputs])];
      const expected = convolve('cpu', geometry, values);
      const got = convolve('wasm', geometry, values);
      // Activations cut off what the rounding is relative to.
      const sums = convolve('cpu', { ...geometry, activation: 'linear' }, values);
      expect(got.length).toBe(expected.length);
      expect(difference(got, expected, sums), JSON.stringify(geometry)).toBeLessThan(1e-5);
    }
  });

  test('has the gradients of the cpu backend, for images and filters', () => {
    for (let round = 0; round < 6; round++) {
      // The cpu backend takes seconds for the gradients of many channels.
      const { images, outputs, pad } = drawGeometry(12);
      const shapes: Geometry['images'][] = [images, [3, 3, images[3], outputs]];
      const values = shapes.map(normal);
      const gradients = (backend: string): Float32Array[] => {
        void tf.setBackend(backend);
        return tf.tidy(() => {
          const [x, filter] = shapes.map((shape, index) => tf.tensor(values[index]!, shape)) as [
            tf.Tensor4D,
            tf.Tensor4D,
          ];
          const run = (a: tf.Tensor, b: tf.Tensor): tf.Tensor =>
            tf.conv2d(a as tf.Tensor4D, b as tf.Tensor4D, 1, pad as 'same');
          const { shape, size } = run(x, filter);
          const dy = tf.tensor(randomSource(round, 'dy').normal(size), shape);
          return tf
            .grads(run)([x, filter], dy)
            .map((gradient) => gradient.dataSync() as Float32Array);
        });
      };
      const expected = gradients('cpu');
      gradients('wasm').forEach((gradient, index) => {
        expect(gradient.length).toBe(expected[index]!.length);
        expect(difference(gradient, expected[index]!, expected[index]!)).toBeLessThan(1e-5);
      });
    }
  });

  test('is what runs: its last bits differ from those of a batch of so few tiles that it is left to the backend', async () => {
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

  test('gives the same bits whatever ran before it', () => {
    const geometry = drawGeometry();
    const { images, outputs } = geometry;
    const values = [normal(images), normal([3, 3, images[3], outputs]), normal([outputs])];
    const first = convolve('wasm', geometry, values);
    const larger: Geometry = { ...geometry, images: [images[0] + 3, 24, 24, 40], outputs: 48 };
    convolve('wasm', larger, [normal(larger.images), normal([3, 3, 40, 48]), normal([48])]);
    expect(convolve('wasm', geometry, values)).toEqual(first);
  });
});
