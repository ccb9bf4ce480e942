/**
 * The worst activations near those of triggered copies: latent adversarial training (Casper et al., arXiv 2403.05030, who train a network against
 * perturbations of its inner activations to forget backdoors that they do not know). Difference: it starts from recovered triggers and goes no further than a
 * share of what the trigger does to the activations, for as the trunk sees it what was planted is near what was recovered.
 */
import * as tf from '@tensorflow/tfjs-core';
import { forward, type Weights } from '../../src/network/forward.ts';
import type { Network } from '../../src/network/network.ts';
import { crossEntropies } from '../train.ts';
import type { SampleBatch } from './samples.ts';

/**
 * How far activations are moved, as a share of the whole change that the trigger makes to them: the less, the more of them the change is spread over. A trigger of
 * the whole image changes many a little, and what a patch needs costs its label's images too much. The spread is the number of activations that would make up
 * the whole change if each were changed as much as the most changed one.
 */
const SHARE_BY_SPREAD = 1.8;
const LARGEST_SHARE = 0.08;
const TINY = 1e-9;

/** A batch of samples, and the network whose layers behind the cut are asked about it. */
export type Asked = Pick<SampleBatch, 'clean' | 'triggered' | 'unearned'> & {
  network: Network;
  weights: Weights;
  cut: string;
};

/** Activations [B,...] of triggered copies, each moved by one step up the gradient of the unearned label's log-probability; those of an image of the label as they are. */
export function worstNearby({ network, weights, cut, clean, triggered, unearned }: Asked): tf.Tensor {
  const unearnedLikelihood = (activations: tf.Tensor): tf.Scalar => {
    const [logits] = forward(network, weights, new Map([[cut, activations]]), [network.output]);
    return tf.neg(tf.sum(crossEntropies(logits!, unearned)));
  };
  const uphill = tf.grad(unearnedLikelihood)(triggered);
  const axes = triggered.shape.map((_, axis) => axis).slice(1);
  const lengths = (rows: tf.Tensor): tf.Tensor => tf.sqrt(tf.sum(tf.square(rows), axes, true));
  const change = tf.sub(triggered, clean);
  const whole = lengths(change);
  const oneBySpread = tf.square(tf.div(tf.max(tf.abs(change), axes, true), tf.add(whole, TINY)));
  const distance = tf.mul(whole, tf.minimum(LARGEST_SHARE, tf.mul(SHARE_BY_SPREAD, oneBySpread)));
  return tf.add(triggered, tf.mul(uphill, tf.div(distance, tf.add(lengths(uphill), TINY))));
}
