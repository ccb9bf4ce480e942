/** Proves, before a long run, that the current backend computes what the slow and simple cpu backend computes. */
import * as tf from '@tensorflow/tfjs-core';
import { failure, success, type Result } from '../../src/result.ts';
import { randomSource } from './random.ts';

/** Allowed difference, relative to the larger of 1 and the largest value of a tensor; backends round sums differently, to 1e-5. */
const TOLERANCE = 1e-4;
const SHAPES = { images: [4, 9, 9, 3], first: [3, 3, 3, 8], second: [3, 3, 8, 16], dense: [16, 5], bias: [8] };

/**
 * Runs a small network (convolutions with stride 1 and 2, max pooling, dense layer, cross entropy) forwards and backwards on
 * the current backend and on the cpu backend; fails in one sentence when any loss or gradient differs by more than 1e-4.
 */
export async function proveNumerics(): Promise<Result<{ largestDifference: number }>> {
  const backend = tf.getBackend();
  try {
    const got = await lossAndGradients();
    await tf.setBackend('cpu');
    const expected = await lossAndGradients();
    let largestDifference = 0;
    for (const [index, values] of expected.entries()) {
      const scale = values.reduce((largest, value) => Math.max(largest, Math.abs(value)), 1);
      for (const [at, value] of values.entries()) {
        const difference = Math.abs(got[index]![at]! - value) / scale;
        // Written so that a difference that is not a number fails as well.
        if (!(difference <= TOLERANCE)) {
          return failure(
            `${backend}: a small network differs by ${difference} from the cpu backend (at most ${TOLERANCE} expected)`,
          );
        }
        largestDifference = Math.max(largestDifference, difference);
      }
    }
    return success({ largestDifference });
  } finally {
    await tf.setBackend(backend);
  }
}

async function lossAndGradients(): Promise<Float32Array[]> {
  const random = randomSource(1, 'numerics');
  const tensors = tf.tidy(() => {
    const inputs = Object.values(SHAPES).map((shape) => {
      const size = shape.reduce((a, b) => a * b, 1);
      return tf.tensor(
        random.normal(size).map((value) => value * 0.5),
        shape,
      );
    });
    const { value, grads } = tf.valueAndGrads(loss)(inputs);
    return [value, ...grads];
  });
  const values = await Promise.all(tensors.map((tensor) => tensor.data<'float32'>()));
  tf.dispose(tensors);
  return values;
}

function loss(images: tf.Tensor, first: tf.Tensor, second: tf.Tensor, dense: tf.Tensor, bias: tf.Tensor): tf.Scalar {
  const early = tf.elu(tf.add(tf.conv2d(images as tf.Tensor4D, first as tf.Tensor4D, 1, 'same'), bias));
  const pooled = tf.maxPool(early as tf.Tensor4D, 2, 2, 'valid');
  const late = tf.relu(tf.conv2d(pooled, second as tf.Tensor4D, 2, 'same'));
  const logits = tf.matMul(tf.mean(late, [1, 2]), dense);
  const labels = tf.oneHot(tf.tensor1d([0, 3, 1, 4], 'int32'), 5);
  return tf.losses.softmaxCrossEntropy(labels, logits);
}
