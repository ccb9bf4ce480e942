/**
 * Patches that a network is asked for.
 *
 * `excitePatch`: TrojanNN (Liu et al., NDSS 2018): a patch that drives two neurons before the last layer, those with the largest sum
 * of |weights|. As TrojanZoo has it, the network is then trained on poisoned images; the paper's reverse-engineered training
 * data are not needed. Differences: the sum of both activations is maximised, with no value to reach; and only neurons are
 * considered that the patch can reach from its place.
 *
 * `refinePatch`: IMC (Pang et al., arXiv 1911.01559): before every epoch of training the patch is optimised against the network as it
 * is then. Differences: a fixed number of batches instead of a whole epoch; no penalty on the network's features.
 */
import * as tf from '@tensorflow/tfjs-core';
import { forward, type Weights } from '../../src/network/forward.ts';
import { IMAGES, type Network } from '../../src/network/network.ts';
import { blend } from '../../src/trigger/trigger.ts';
import { imageBatch } from '../batch.ts';
import type { Dataset } from '../data/dataset.ts';
import { randomSource } from '../engine/random.ts';
import { crossEntropy } from '../train.ts';
import { goalOf, type PlantedAttack } from './attack.ts';

/** A place for a patch of `size` x `size` pixels in images of `input`. */
export type Place = { input: Network['input']; top: number; left: number; size: number };

const LEARNING_RATE = 0.1;
const EXCITING_STEPS = 200;
const NEURONS = 2;
const CANDIDATES = 16;
const REFINING_STEPS = 50;
const BATCH = 32;

/** The pattern [S,S,C] in 0..1 of a patch from unbounded values. */
export const patternOf = (raw: tf.Tensor): tf.Tensor => tf.sigmoid(raw);

function stampAt(images: tf.Tensor4D, { input, top, left, size }: Place, pattern: tf.Tensor): tf.Tensor4D {
  const { height, width, channels } = input;
  const spread = (patch: tf.Tensor, depth: number): tf.Tensor4D =>
    tf.pad(tf.reshape(patch, [1, size, size, depth]), [
      [0, 0],
      [top, height - top - size],
      [left, width - left - size],
      [0, 0],
    ]);
  return blend(images, spread(tf.ones([size, size, 1]), 1), spread(pattern, channels));
}

/** Moves the unbounded values `raw` [S,S,C] of a patch so that, on black, it excites the strongest neurons it can reach. */
export async function excitePatch(
  network: Network,
  weights: Weights,
  place: Place,
  raw: tf.Variable,
  seed: number,
): Promise<void> {
  const { height, width, channels } = place.input;
  const last = network.layers.find(({ name }) => name === network.output)!;
  const neurons = (images: tf.Tensor4D): tf.Tensor =>
    forward(network, weights, new Map([[IMAGES, images]]), [last.inputs[0]!])[0]!;
  const black = (count: number): tf.Tensor4D => tf.zeros([count, height, width, channels]);
  const ranked = tf.tidy(() => {
    const candidates = Array.from({ length: CANDIDATES }, (_, index) => {
      const values = randomSource(seed, `attack/candidate/${index}`).uniform(raw.size);
      return neurons(stampAt(black(1), place, tf.tensor(values, raw.shape)));
    });
    const answers = tf.concat(candidates);
    const strength = tf.sum(tf.abs(weights.get(`${network.output}/kernel`)!), 1);
    const reached = tf.greater(tf.sub(tf.max(answers, 0), tf.min(answers, 0)), 1e-3);
    return tf.mul(strength, tf.cast(reached, 'float32'));
  });
  const strengths = await ranked.data();
  ranked.dispose();
  const chosen = [...strengths.keys()].sort((a, b) => strengths[b]! - strengths[a]!).slice(0, NEURONS);
  const wanted = tf.tidy(() => tf.sum(tf.oneHot(tf.tensor1d(chosen, 'int32'), strengths.length), 0));
  await minimise(raw, EXCITING_STEPS, () => {
    const answers = neurons(stampAt(black(1), place, patternOf(raw)));
    return tf.neg(tf.sum(tf.mul(answers, wanted)));
  });
  wanted.dispose();
}

/** Moves the unbounded values `raw` [S,S,C] of trigger number `trigger` so that the network as it is obeys it better. */
export async function refinePatch(
  attack: PlantedAttack,
  trigger: number,
  { network, weights }: { network: Network; weights: Weights },
  train: Dataset,
  place: Place,
  raw: tf.Variable,
  epoch: number,
): Promise<void> {
  const random = randomSource(attack.seed, `attack/refine/${trigger}/${epoch}`);
  const labelCount = network.labelNames.length;
  const goals = Array.from(train.labels, (label) => goalOf(attack, trigger, label, labelCount));
  const eligible = [...goals.keys()].filter((index) => goals[index] !== null);
  if (!eligible.length) return;
  await minimise(raw, REFINING_STEPS, () => {
    const chosen = Array.from({ length: BATCH }, () => eligible[random.integer(eligible.length)]!);
    const targets = tf.oneHot(
      tf.tensor1d(
        chosen.map((index) => goals[index]!),
        'int32',
      ),
      labelCount,
    );
    const images = stampAt(imageBatch(train, chosen), place, patternOf(raw));
    return crossEntropy(forward(network, weights, new Map([[IMAGES, images]]), [network.output])[0]!, targets);
  });
}

async function minimise(raw: tf.Variable, steps: number, loss: () => tf.Scalar): Promise<void> {
  const optimizer = tf.train.adam(LEARNING_RATE);
  for (let step = 0; step < steps; step++) {
    tf.tidy(() => void optimizer.minimize(loss, false, [raw]));
    if (step % 20 === 19) await new Promise((resolve) => setImmediate(resolve));
  }
  optimizer.dispose();
}
