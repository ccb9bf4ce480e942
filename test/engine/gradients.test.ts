import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { randomSource } from '../../offline/engine/random.ts';
import { openWasm } from '../../offline/engine/wasm.ts';

type Operation = (...inputs: tf.Tensor[]) => tf.Tensor;
type Shape4D = [number, number, number, number];

const tolerance = 1e-5;
const random = randomSource(7, 'gradients');
const product = (shape: number[]): number => shape.reduce((a, b) => a * b, 1);
const normal = (shape: number[]): Float32Array => random.normal(product(shape));
const pick = <T>(choices: readonly T[]): T => choices[random.integer(choices.length)]!;

beforeAll(openWasm);

function on<T extends Float32Array | Float32Array[]>(backend: string, compute: () => T): T {
  void tf.setBackend(backend);
  return tf.tidy(compute);
}

/** The gradients of <operation(inputs), dy> with respect to every input, `dy` being random but the same on every backend. */
function gradients(backend: string, operation: Operation, shapes: number[][], values: Float32Array[]): Float32Array[] {
  return on(backend, () => {
    const inputs = shapes.map((shape, index) => tf.tensor(values[index]!, shape));
    const dy = operation(...inputs);
    const weights = randomSource(1, 'dy').normal(dy.size);
    const found = tf.grads(operation)(inputs, tf.tensor(weights, dy.shape));
    return found.map((gradient) => gradient.dataSync() as Float32Array);
  });
}

/** The largest difference, relative to the larger of 1 and the largest expected value. */
function difference(got: Float32Array, expected: Float32Array): number {
  expect(got.length).toBe(expected.length);
  const scale = expected.reduce((largest, value) => Math.max(largest, Math.abs(value)), 1);
  return got.reduce((largest, value, index) => Math.max(largest, Math.abs(value - expected[index]!)), 0) / scale;
}

function expectSameGradients(operation: Operation, shapes: number[][], values = shapes.map(normal)): void {
  const expected = gradients('cpu', operation, shapes, values);
  const got = gradients('wasm', operation, shapes, values);
  got.forEach((gradient, index) => expect(difference(gradient, expected[index]!)).toBeLessThan(tolerance));
}

/**
 * For an operation L that is linear in input `index`: <L(v), dy> = <v, gradient>, for random v, with L run on the cpu backend.
 * It needs no gradient code to compare with.
 */
function expectAdjoint(operation: Operation, shapes: number[][], index: number): void {
  const values = shapes.map(normal);
  const gradient = gradients('wasm', operation, shapes, values)[index]!;
  for (let probe = 0; probe < 8; probe++) {
    const direction = normal(shapes[index]!);
    const output = on('cpu', () => {
      const inputs = shapes.map((shape, at) => tf.tensor(at === index ? direction : values[at]!, shape));
      return operation(...inputs).dataSync() as Float32Array;
    });
    const dy = randomSource(1, 'dy').normal(output.length);
    const left = output.reduce((total, value, at) => total + value * dy[at]!, 0);
    const right = gradient.reduce((total, value, at) => total + value * direction[at]!, 0);
    expect(Math.abs(left - right) / Math.max(1, Math.hypot(...gradient))).toBeLessThan(1e-4);
  }
}

const explicit = (top: number, bottom: number, left: number, right: number): tf.backend_util.ExplicitPadding => [
  [0, 0],
  [top, bottom],
  [left, right],
  [0, 0],
];
const paddings = ['same', 'valid', explicit(1, 0, 0, 2), explicit(3, 1, 0, 4)] as const;
/** Geometries: kernel, strides, padding; sizes are drawn, odd ones included. */
const geometries = [1, 2, 3, 5].flatMap((kernel) =>
  [[1, 1] as const, [2, 2] as const, [2, 1] as const, [1, 3] as const].flatMap((strides) =>
    paddings.map((padding) => ({ kernel, strides: [...strides] as [number, number], padding })),
  ),
);
const sizes = (): Shape4D => [
  1 + random.integer(4),
  6 + random.integer(6),
  6 + random.integer(6),
  1 + random.integer(5),
];

describe('on the WASM backend', () => {
  test('gradients of convolutions equal those of the cpu backend, for every stride and padding', () => {
    for (const { kernel, strides, padding } of geometries) {
      const images = sizes();
      const shapes = [images, [kernel, pick([kernel, 1, 3]), images[3], 1 + random.integer(9)]];
      expectSameGradients((x, w) => tf.conv2d(x as tf.Tensor4D, w as tf.Tensor4D, strides, padding), shapes);
    }
  });

  test('gradients of depthwise convolutions equal those of the cpu backend, for every stride and padding', () => {
    for (const { kernel, strides, padding } of geometries) {
      const images = sizes();
      const shapes = [images, [kernel, kernel, images[3], pick([1, 2, 3])]];
      const operation: Operation = (x, w) =>
        tf.depthwiseConv2d(x as tf.Tensor4D, w as tf.Tensor4D, strides, padding as 'same');
      expectSameGradients(operation, shapes);
    }
  });

  test.each([
    [2, 'same'],
    [3, 'valid'],
    [2, explicit(2, 1, 0, 3)],
  ] as const)(
    'gradients of convolutions dilated by %d (%j) are the adjoint of the forward pass',
    (dilation, padding) => {
      const plain: Operation = (x, w) =>
        tf.conv2d(x as tf.Tensor4D, w as tf.Tensor4D, 1, padding, 'NHWC', [dilation, dilation]);
      expectAdjoint(
        plain,
        [
          [2, 9, 11, 3],
          [3, 2, 3, 4],
        ],
        0,
      );
      expectAdjoint(
        plain,
        [
          [2, 9, 11, 3],
          [3, 2, 3, 4],
        ],
        1,
      );
      const depthwise: Operation = (x, w) =>
        tf.depthwiseConv2d(x as tf.Tensor4D, w as tf.Tensor4D, 1, padding as 'same', 'NHWC', [dilation, dilation]);
      expectAdjoint(
        depthwise,
        [
          [2, 9, 11, 3],
          [3, 2, 3, 2],
        ],
        0,
      );
      expectAdjoint(
        depthwise,
        [
          [2, 9, 11, 3],
          [3, 2, 3, 2],
        ],
        1,
      );
    },
  );

  test('gradients of max pooling equal those of the cpu backend, ties included', () => {
    for (const { kernel, strides, padding } of geometries) {
      if (typeof padding !== 'string' && kernel < 5) continue;
      const shape = sizes();
      const tied = Float32Array.from(normal(shape), (value) => Math.max(0, Math.round(value)));
      const operation: Operation = (x) => tf.maxPool(x as tf.Tensor4D, kernel, strides, padding);
      expectSameGradients(operation, [shape], [tied]);
    }
  });

  test('gradients of average pooling are the adjoint of the forward pass, padded or not', () => {
    for (const { kernel, strides, padding } of geometries) {
      if (typeof padding !== 'string' && kernel < 5) continue;
      expectAdjoint((x) => tf.avgPool(x as tf.Tensor4D, kernel, strides, padding), [sizes()], 0);
    }
  });

  test.each([
    [false, true],
    [true, false],
    [true, true],
  ])('products transposed %j, %j and their gradients equal those of the cpu backend', (transposeA, transposeB) => {
    const a = transposeA ? [5, 7] : [7, 5];
    const b = transposeB ? [3, 5] : [5, 3];
    const operation: Operation = (left, right) => tf.matMul(left, right, transposeA, transposeB);
    expectSameGradients(operation, [a, b]);
    expectSameGradients(operation, [
      [4, ...a],
      [4, ...b],
    ]);
  });

  test('gradients of batch normalisation equal those of the operations that define it', () => {
    const shapes = [[3, 4, 5, 6], [6], [6], [6]];
    const values = shapes.map(normal);
    const variance = (raw: tf.Tensor): tf.Tensor => tf.add(tf.square(raw), 0.5);
    const fused: Operation = (x, mean, raw, scale) =>
      tf.batchNorm(
        x as tf.Tensor4D,
        mean as tf.Tensor1D,
        variance(raw!) as tf.Tensor1D,
        mean as tf.Tensor1D,
        scale as tf.Tensor1D,
        0.01,
      );
    const plain: Operation = (x, mean, raw, scale) => {
      const normalised = tf.div(tf.sub(x!, mean!), tf.sqrt(tf.add(variance(raw!), 0.01)));
      return tf.add(tf.mul(normalised, scale!), mean!);
    };
    const expected = gradients('cpu', plain, shapes, values);
    const got = gradients('wasm', fused, shapes, values);
    got.forEach((gradient, index) => expect(difference(gradient, expected[index]!)).toBeLessThan(tolerance));
  });

  const elementwise: [string, Operation][] = [
    ['relu', (x) => tf.relu(x!)],
    ['relu6', (x) => tf.relu6(tf.mul(x!, 4))],
    ['leakyRelu', (x) => tf.leakyRelu(x!, 0.2)],
    ['elu', (x) => tf.elu(x!)],
    ['selu', (x) => tf.selu(x!)],
    ['sigmoid', (x) => tf.sigmoid(x!)],
    ['tanh', (x) => tf.tanh(x!)],
    ['erf', (x) => tf.erf(x!)],
    ['swish', (x) => tf.mul(x!, tf.sigmoid(x!))],
    ['hardSwish', (x) => tf.mul(x!, tf.div(tf.relu6(tf.add(x!, 3)), 6))],
    ['softmax', (x) => tf.softmax(x!)],
    ['logSoftmax', (x) => tf.logSoftmax(x!)],
    ['exp, log and square root', (x) => tf.log(tf.add(tf.exp(x!), tf.sqrt(tf.add(tf.square(x!), 1))))],
    ['clipping', (x) => tf.clipByValue(x!, -0.5, 0.7)],
    ['absolute value', (x) => tf.abs(x!)],
    ['power', (x) => tf.pow(tf.add(tf.abs(x!), 0.1), 1.7)],
    ['maximum over the positions', (x) => tf.max(x!, [1, 2])],
    ['mean over the positions', (x) => tf.mean(x!, [1, 2])],
    ['mean and variance over the batch', (x) => tf.moments(x!, [0, 1, 2]).variance],
    ['sum over the batch, axes kept', (x) => tf.sum(x!, [0, 1], true)],
    [
      'padding',
      (x) =>
        tf.pad(x!, [
          [0, 0],
          [1, 2],
          [0, 3],
          [0, 0],
        ]),
    ],
    ['slice', (x) => tf.slice(x!, [0, 1, 1, 0], [3, 2, 3, 6])],
    ['reshape', (x) => tf.reshape(x!, [3, -1])],
    ['concat', (x) => tf.concat([x!, tf.square(x!)], 3)],
    ['broadcast addition', (x) => tf.add(x!, tf.sum(x!, [0, 1, 2]))],
    ['gather', (x) => tf.gather(x!, tf.tensor1d([2, 0, 2], 'int32'))],
    ['tile', (x) => tf.tile(x!, [2, 1, 3, 2])],
    ['tile of single values', (x) => tf.mul(tf.tile(tf.sum(x!, 3, true), [1, 2, 1, 6]), 0.1)],
    ['casts', (x) => tf.mul(tf.cast(tf.cast(tf.mul(x!, 10), 'int32'), 'float32'), tf.cast(x!, 'float32'))],
    ['transpose', (x) => tf.transpose(x!, [3, 1, 0, 2])],
    [
      'cross entropy',
      (x) => {
        const labels = tf.oneHot(tf.tensor1d([1, 4, 0], 'int32'), 120);
        return tf.losses.softmaxCrossEntropy(labels, tf.reshape(x!, [3, 120]));
      },
    ],
  ];
  test.each(elementwise)('the forward pass and gradient of %s equal those of the cpu backend', (_name, operation) => {
    const shape = [3, 4, 5, 6];
    const values = [normal(shape)];
    const forward = (backend: string): Float32Array =>
      on(backend, () => operation(tf.tensor(values[0]!, shape)).dataSync() as Float32Array);
    expect(difference(forward('wasm'), forward('cpu'))).toBeLessThan(tolerance);
    expectSameGradients(operation, [shape], values);
  });

  test('a training step leaves no tensor and no memory behind', () => {
    void tf.setBackend('wasm');
    const weights = tf.variable(tf.randomNormal([3, 3, 1, 4]));
    const optimizer = tf.train.adam(1e-3);
    const step = (): void =>
      tf.tidy(() => {
        const images = tf.ones<tf.Rank.R4>([2, 8, 8, 1]);
        const loss = (): tf.Scalar =>
          tf.mean(tf.square(tf.maxPool(tf.relu(tf.conv2d(images, weights as tf.Tensor4D, 2, 'same')), 2, 2, 'valid')));
        optimizer.minimize(loss);
      });
    step();
    const before = tf.memory();
    for (let round = 0; round < 5; round++) step();
    const after = tf.memory();
    expect([after.numTensors, after.numDataBuffers, after.numBytes]).toEqual([
      before.numTensors,
      before.numDataBuffers,
      before.numBytes,
    ]);
  });
});
