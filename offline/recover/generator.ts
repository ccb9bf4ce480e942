/**
 * The trigger generator of MESA and BAERASER (Qiao et al., arXiv 1910.04749; Liu et al., arXiv 2201.09538): noise in four
 * chunks enters a small perceptron layer by layer. Differences: it emits a whole-image trigger instead of a 3x3 patch of known
 * size, as an offset to a screened one, so that neither size, shape nor place of the trigger is assumed.
 */
import * as tf from '@tensorflow/tfjs-core';

export const NOISE = 64;
const CHUNK = NOISE / 4;

export type Generator = {
  variables: tf.Variable[];
  /** Raw triggers [B,outputs] of noise [B,64]; normalised over the batch, so B must be at least 2. */
  generate: (noise: tf.Tensor2D) => tf.Tensor2D;
};

/** A dense layer's kernel [inputs,outputs] with normal entries of the given standard deviation. */
export function denseKernel(
  normal: (count: number) => Float32Array,
  inputs: number,
  outputs: number,
  deviation: number,
) {
  return tf.variable(
    tf.tensor2d(
      normal(inputs * outputs).map((value) => value * deviation),
      [inputs, outputs],
    ),
  );
}

/** A generator whose triggers start as small variations of `base` [outputs]. */
export function makeGenerator(base: Float32Array, hidden: number, normal: (count: number) => Float32Array): Generator {
  const hiddenLayer = (inputs: number) => ({
    kernel: denseKernel(normal, inputs, hidden, Math.sqrt(2 / inputs)),
    scale: tf.variable(tf.ones([hidden])),
    shift: tf.variable(tf.zeros([hidden])),
  });
  const layers = [hiddenLayer(CHUNK), hiddenLayer(hidden + CHUNK), hiddenLayer(hidden + CHUNK)];
  const output = denseKernel(normal, hidden + CHUNK, base.length, 0.1 / Math.sqrt(hidden));
  const bias = tf.variable(tf.tensor1d(base));

  const generate = (noise: tf.Tensor2D): tf.Tensor2D => {
    const chunks = tf.split(noise, 4, 1);
    let state = chunks[0]!;
    layers.forEach(({ kernel, scale, shift }, index) => {
      const summed = tf.matMul(state, kernel);
      const { mean, variance } = tf.moments(summed, 0);
      const normalised = tf.div(tf.sub(summed, mean), tf.sqrt(tf.add(variance, 1e-5)));
      const activated = tf.leakyRelu(tf.add(tf.mul(normalised, scale), shift), 0.2);
      state = tf.concat([activated, chunks[index + 1]!], 1) as tf.Tensor2D;
    });
    return tf.add(tf.matMul(state, output), bias);
  };
  const variables = [...layers.flatMap(({ kernel, scale, shift }) => [kernel, scale, shift]), output, bias];
  return { variables, generate };
}
