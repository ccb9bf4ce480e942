import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, expect, test } from 'vitest';
import { openWasm } from '../../offline/engine/wasm.ts';
import { sensitivity } from '../../offline/unlearn/penalty.ts';

beforeAll(openWasm);

function close(got: ArrayLike<number>, expected: readonly number[]): void {
  expect(got.length).toBe(expected.length);
  expected.forEach((value, index) => expect(got[index]).toBeCloseTo(value, 5));
}

test('the sensitivity of a linear loss is the size of its coefficients, divided by their mean', () => {
  const [a, b] = [tf.variable(tf.tensor1d([5, 6])), tf.variable(tf.tensor2d([[7, 8, 9, 10]]))];
  const loss = (): tf.Scalar =>
    tf.add(tf.sum(tf.mul(a, tf.tensor1d([1, -2]))), tf.sum(tf.mul(b, tf.tensor2d([[0, 3, -6, 12]]))));
  const found = sensitivity(
    loss,
    new Map<string, tf.Variable>([
      ['a', a],
      ['b', b],
    ]),
  );
  // The mean of 1, 2, 0, 3, 6 and 12 is 4.
  expect([...found.keys()]).toEqual(['a', 'b']);
  close(found.get('a')!.dataSync(), [0.25, 0.5]);
  close(found.get('b')!.dataSync(), [0, 0.75, 1.5, 3]);
  expect(found.get('b')!.shape).toEqual([1, 4]);
});

test('the sensitivity of a linear model has the closed form of softmax regression', () => {
  // dCE / dW[f,k] = mean over images of x_f (p_k - y_k).
  const [images, labels] = [
    [
      [1, 2],
      [3, -1],
    ],
    [
      [1, 0],
      [0, 1],
    ],
  ] as const;
  const kernel = [
    [0.1, -0.2],
    [0.3, 0.4],
  ] as const;
  const gradient = [
    [0, 0],
    [0, 0],
  ];
  images.forEach((image, row) => {
    const logits = [0, 1].map((k) => image[0] * kernel[0][k as 0] + image[1] * kernel[1][k as 0]);
    const total = logits.reduce((sum, logit) => sum + Math.exp(logit), 0);
    for (const k of [0, 1]) {
      const error = Math.exp(logits[k]!) / total - labels[row]![k]!;
      for (const f of [0, 1]) gradient[f]![k]! += (image[f]! * error) / images.length;
    }
  });
  const sizes = gradient.flat().map(Math.abs);
  const mean = sizes.reduce((sum, size) => sum + size, 0) / 4;

  const weights = tf.variable(tf.tensor2d(kernel.map((row) => [...row])));
  const loss = (): tf.Scalar => {
    const logits = tf.matMul(tf.tensor2d(images.map((row) => [...row])), weights);
    return tf.neg(tf.mean(tf.sum(tf.mul(tf.logSoftmax(logits), tf.tensor2d(labels.map((row) => [...row]))), 1)));
  };
  close(
    sensitivity(loss, new Map([['w', weights]]))
      .get('w')!
      .dataSync(),
    sizes.map((size) => size / mean),
  );
});

test('gradients of opposite sign in different batches add up instead of cancelling, and nothing leaks', () => {
  const [a, b] = [tf.variable(tf.scalar(1)), tf.variable(tf.scalar(1))];
  let batch = 0;
  // a has gradients 1, -1, 1, -1; b has 3, 3, 3, 3: means of the sizes 1 and 3.
  const loss = (): tf.Scalar => tf.add(tf.mul(a, batch++ % 2 ? -1 : 1), tf.mul(b, 3));
  const before = tf.memory().numTensors;
  const found = sensitivity(
    loss,
    new Map([
      ['a', a],
      ['b', b],
    ]),
  );
  expect(batch).toBe(4);
  expect(tf.memory().numTensors).toBe(before + 2);
  close(found.get('a')!.dataSync(), [0.5]);
  close(found.get('b')!.dataSync(), [1.5]);
});
