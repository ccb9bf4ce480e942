import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { closeEngine, openEngine, type Engine } from '../../offline/engine/engine.ts';
import { randomSource } from '../../offline/engine/random.ts';
import { findAdapter } from '../../offline/engine/webgpu.ts';
import { crossEntropy, descend } from '../../offline/train.ts';
import { warpImages } from '../../src/trigger/warp.ts';

const adapter = await findAdapter();
if (adapter.found !== 'adapter') console.warn('SKIPPED: no WebGPU adapter, so that its kernels are not compared');

describe.skipIf(adapter.found !== 'adapter')('the kernels on WebGPU', () => {
  let engine: Engine;
  beforeAll(async () => {
    const opened = await openEngine('webgpu');
    if (!opened.ok) throw new Error(opened.error);
    engine = opened.value;
  });
  afterAll(() => closeEngine(engine));

  /** Compares what is computed on WebGPU and on the simple cpu backend. */
  async function expectSame(compute: () => Promise<Float32Array>): Promise<void> {
    await tf.setBackend('webgpu');
    const got = await compute();
    await tf.setBackend('cpu');
    const expected = await compute();
    await tf.setBackend('webgpu');
    expect(got).toHaveLength(expected.length);
    const scale = expected.reduce((largest, value) => Math.max(largest, Math.abs(value)), 1);
    const worst = expected.reduce((largest, value, at) => Math.max(largest, Math.abs(value - got[at]!)), 0);
    expect(worst / scale).toBeLessThan(1e-5);
  }
  const valuesOf = (compute: () => tf.Tensor) => (): Promise<Float32Array> => tf.tidy(compute).data<'float32'>();

  test.each([1, 7, 8, 13, 14, 62])(
    '%i tensors are added, though a device binds eight buffers at most',
    async (count) => {
      await expectSame(
        valuesOf(() => tf.addN(Array.from({ length: count }, (_, index) => tf.fill([5, 3], index + 0.5)))),
      );
    },
  );

  test('values of five axes are selected', async () => {
    const range = (): tf.Tensor => tf.reshape(tf.range(0, 72), [2, 1, 3, 4, 3]);
    await expectSame(valuesOf(() => tf.where(tf.greater(range(), 20), range(), tf.neg(range()))));
  });

  test.each([
    { size: 3, stride: 1, padding: 'same' as const, side: 9, batch: 4 },
    { size: 3, stride: 2, padding: 'same' as const, side: 9, batch: 6 },
    { size: 3, stride: 2, padding: 'valid' as const, side: 10, batch: 3 },
    { size: 1, stride: 2, padding: 'valid' as const, side: 8, batch: 8 },
    { size: 5, stride: 3, padding: 'same' as const, side: 11, batch: 1 },
  ])(
    'a convolution has the gradients of the cpu backend: filter $size, stride $stride, $padding, side $side, batch $batch',
    async ({ size, stride, padding, side, batch }) => {
      const random = randomSource(1, 'webgpu');
      const [images, filter] = [random.normal(batch * side * side * 3), random.normal(size * size * 3 * 2)];
      for (const which of [0, 1]) {
        await expectSame(
          valuesOf(() => {
            const x = tf.tensor4d(images, [batch, side, side, 3]);
            const w = tf.tensor4d(filter, [size, size, 3, 2]);
            const output = (x: tf.Tensor, w: tf.Tensor): tf.Tensor =>
              tf.conv2d(x as tf.Tensor4D, w as tf.Tensor4D, stride, padding);
            return tf.grads((x, w) => tf.sum(tf.square(output(x!, w!))))([x, w])[which]!;
          }),
        );
      }
    },
  );

  test.each(['values', 'gradients'] as const)('a warp has the %s of the cpu backend', async (which) => {
    const random = randomSource(2, 'webgpu');
    const [pixels, flow, weight] = [4 * 9 * 7 * 3, 2 * 9 * 7 * 2, 4 * 9 * 7 * 3].map((count) => random.normal(count));
    await expectSame(
      valuesOf(() => {
        const images = tf.tensor4d(pixels!, [4, 9, 7, 3]);
        const warped = (flows: tf.Tensor): tf.Tensor => warpImages(images, tf.tanh(flows) as tf.Tensor4D, 1);
        const flows = tf.tensor4d(flow!, [2, 9, 7, 2]);
        if (which === 'values') return warped(flows);
        return tf.grad((given) => tf.sum(tf.mul(warped(given), tf.tensor4d(weight!, [4, 9, 7, 3]))))(flows);
      }),
    );
  });

  test('a training ends with the weights of the cpu backend, though buffers and what binds them are used again', async () => {
    await expectSame(trained);
  });
});

/** The first filters of a small network after 60 steps, in which the momentum of every weight is kept in memory that others had. */
async function trained(): Promise<Float32Array> {
  const random = randomSource(1, 'webgpu');
  const normal = (shape: number[]): tf.Variable =>
    tf.variable(
      tf.tensor(
        random.normal(tf.util.sizeFromShape(shape)).map((value) => value / 3),
        shape,
      ),
    );
  const [filter, dense, shift] = [normal([3, 3, 2, 6]), normal([6, 3]), normal([3])];
  await descend({
    variables: [filter, dense, shift],
    steps: 60,
    peakLearningRate: 0.1,
    largestNorm: 1,
    loss: (step) => {
      const images = tf.tensor4d(random.normal(4 * 6 * 6 * 2), [4, 6, 6, 2]);
      const features = tf.mean(tf.elu(tf.conv2d(images, filter as tf.Tensor4D, 1, 'same')), [1, 2]);
      const labels = tf.oneHot(tf.tensor1d([0, 1, 2, step % 3], 'int32'), 3);
      return crossEntropy(tf.add(tf.matMul(features, dense), shift), labels);
    },
  });
  const values = Float32Array.from(await filter.data());
  tf.dispose([filter, dense, shift]);
  return values;
}
