/**
 * The mutual-information estimator between noise and trigger (MINE, Belghazi et al., arXiv 1801.04062), whose bound the
 * generator maximises so that its triggers stay diverse. After MESA's statistics network and its bias-corrected gradient
 * (eq. 12 of MINE); the last LeakyReLU on the scalar output is left out, it only bends the statistic.
 */
import * as tf from '@tensorflow/tfjs-core';
import { denseKernel, NOISE } from './generator.ts';

const AVERAGE_RATE = 0.001;

export type Estimator = {
  variables: tf.Variable[];
  dispose: () => void;
  /** The Donsker-Varadhan bound on I(noise; triggers), differentiable in the triggers; `other` is noise independent of them. */
  bound: (noise: tf.Tensor2D, other: tf.Tensor2D, triggers: tf.Tensor2D) => tf.Scalar;
  /** The loss that trains the estimator itself. */
  loss: (noise: tf.Tensor2D, other: tf.Tensor2D, triggers: tf.Tensor2D) => tf.Scalar;
};

/** An estimator for triggers [B,outputs]. */
export function makeEstimator(outputs: number, hidden: number, normal: (count: number) => Float32Array): Estimator {
  const fromNoise = denseKernel(normal, NOISE, hidden, 1 / Math.sqrt(NOISE));
  const fromTrigger = denseKernel(normal, outputs, hidden, 1 / Math.sqrt(outputs));
  const bias = tf.variable(tf.zeros([hidden]));
  const middle = denseKernel(normal, hidden, hidden, Math.sqrt(2 / hidden));
  const last = denseKernel(normal, hidden, 1, Math.sqrt(1 / hidden));
  const movingAverage = tf.variable(tf.scalar(0));
  let started = false;

  const statistic = (noise: tf.Tensor2D, triggers: tf.Tensor2D): tf.Tensor => {
    const joined = tf.add(tf.add(tf.matMul(noise, fromNoise), tf.matMul(triggers, fromTrigger)), bias);
    return tf.matMul(tf.leakyRelu(tf.matMul(tf.leakyRelu(joined, 0.2), middle), 0.2), last);
  };
  const terms = (noise: tf.Tensor2D, other: tf.Tensor2D, triggers: tf.Tensor2D) => ({
    joint: tf.mean<tf.Scalar>(statistic(noise, triggers)),
    marginal: tf.mean<tf.Scalar>(tf.exp(statistic(other, triggers))),
  });
  return {
    variables: [fromNoise, fromTrigger, bias, middle, last],
    dispose: () => tf.dispose([fromNoise, fromTrigger, bias, middle, last, movingAverage]),
    bound: (noise, other, triggers) => {
      const { joint, marginal } = terms(noise, other, triggers);
      return tf.sub(joint, tf.log(tf.add(marginal, 1e-8)));
    },
    loss: (noise, other, triggers) => {
      const { joint, marginal } = terms(noise, other, triggers);
      const rate = started ? AVERAGE_RATE : 1;
      started = true;
      movingAverage.assign(tf.add(tf.mul(movingAverage, 1 - rate), tf.mul(marginal, rate)));
      // Its gradient is that of log(marginal), with the batch's marginal replaced by the moving average.
      return tf.sub(tf.div(marginal, movingAverage), joint);
    },
  };
}
