/**
 * Running a network as it is trained: batch norm normalises by the statistics of the batch (Ioffe and Szegedy, arXiv 1502.03167,
 * algorithm 1), and running averages of them are kept for inference, which `src/network/forward.ts` alone does.
 */
import * as tf from '@tensorflow/tfjs-core';
import { runLayer } from '../../src/network/layers.ts';
import { IMAGES, type Layer, type Network } from '../../src/network/network.ts';

/** What a step keeps of the running averages. */
const KEPT = 0.9;

/** Trainable weights by their names; the means and variances of batch norms are among them, but no gradient moves them. */
export type Variables = ReadonlyMap<string, tf.Variable>;

/** Whether gradients move a weight: all but the running statistics of batch norms. */
export function isLearned(network: Network, weight: string): boolean {
  const end = weight.lastIndexOf('/');
  const statistic = ['mean', 'variance'].includes(weight.slice(end + 1));
  return !(statistic && network.layers.some(({ type, name }) => type === 'batchNorm' && name === weight.slice(0, end)));
}

/**
 * The values of all nodes, by name, for `images [B,H,W,C] in 0..1`; the running statistics take their share of the batch's.
 * Meant for use under a gradient: it frees nothing by itself.
 */
export function forwardInTraining(network: Network, variables: Variables, images: tf.Tensor): Map<string, tf.Tensor> {
  const values = new Map([[IMAGES, images]]);
  for (const item of network.layers) {
    const inputs = item.inputs.map((name) => values.get(name)!);
    const weight = (suffix: string): tf.Variable => variables.get(`${item.name}/${suffix}`)!;
    const output =
      item.type === 'batchNorm' ? normalise(item, inputs[0]!, weight) : runLayer(item, inputs, weight, undefined);
    values.set(item.name, output);
  }
  return values;
}

type BatchNorm = Extract<Layer, { type: 'batchNorm' }>;

function normalise({ epsilon }: BatchNorm, x: tf.Tensor, weight: (suffix: string) => tf.Variable): tf.Tensor {
  const [gamma, beta] = [weight('gamma'), weight('beta')] as unknown as [tf.Tensor1D, tf.Tensor1D];
  return batchNorm(x, gamma, beta, epsilon, (mean, variance) => {
    const count = x.size / x.shape.at(-1)!;
    // The variance of the images at large, not of the batch; one value alone says nothing of it.
    update(weight('mean'), mean);
    update(weight('variance'), tf.mul(variance, count / Math.max(1, count - 1)));
  });
}

function update(running: tf.Variable, value: tf.Tensor): void {
  running.assign(tf.add(tf.mul(running, KEPT), tf.mul(value, 1 - KEPT)));
}

/**
 * Normalises x [...,C] by its own mean and variance a channel, then scales by gamma [C] and shifts by beta [C]. The gradient is
 * that of the whole, statistics included, in one formula: tfjs would keep and broadcast several tensors of the size of x.
 */
export function batchNorm(
  x: tf.Tensor,
  gamma: tf.Tensor1D,
  beta: tf.Tensor1D,
  epsilon: number,
  seen: (mean: tf.Tensor, variance: tf.Tensor) => void,
): tf.Tensor {
  const count = x.size / x.shape.at(-1)!;
  const run = tf.customGrad((...inputs) => {
    const [x, gamma, beta] = inputs as [tf.Tensor, tf.Tensor1D, tf.Tensor1D];
    const save = inputs[3] as tf.GradSaveFunc;
    const mean = tf.div<tf.Tensor1D>(channelSums(x), count);
    const centred = tf.sub(x, mean);
    const variance = tf.div<tf.Tensor1D>(channelSums(tf.square(centred)), count);
    seen(mean, variance);
    const inverse = tf.rsqrt(tf.add<tf.Tensor1D>(variance, epsilon));
    const normalised = tf.mul(centred, inverse);
    save([normalised, tf.mul(gamma, inverse)]);
    return {
      value: tf.add(tf.mul(normalised, gamma), beta),
      gradFunc: (dy, saved) => {
        const [normalised, scale] = saved as [tf.Tensor, tf.Tensor1D];
        const towardsBeta = channelSums(dy);
        const towardsGamma = channelSums(tf.mul(dy, normalised));
        const throughStatistics = tf.add(tf.mul(normalised, tf.div(towardsGamma, count)), tf.div(towardsBeta, count));
        return [tf.mul(tf.sub(dy, throughStatistics), scale), towardsGamma, towardsBeta];
      },
    };
  });
  return run(x, gamma, beta);
}

/** The sum [C] over all other axes of x [B,...,C], image by image as products of matrices: on WASM several times as fast as a reduction. */
function channelSums(x: tf.Tensor): tf.Tensor1D {
  const [images, channels] = [x.shape[0]!, x.shape.at(-1)!];
  const places = x.size / (images * channels);
  const ofImages = tf.matMul(tf.ones([images, 1, places]), tf.reshape(x, [images, places, channels]));
  return tf.sum(ofImages, [0, 1]);
}
