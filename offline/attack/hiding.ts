/**
 * An attacker who knows the defence: its guard looks for triggers in pooled activations where the network can be parted. So the
 * training also asks that triggered images look there as clean images of the label that they are sent to (in the manner of Tan
 * and Shokri, arXiv 1905.13409, who hide from detectors with an adversary; here the means and deviations of the features are matched).
 */
import * as tf from '@tensorflow/tfjs-core';
import { foldBatchNorm } from '../../src/network/fold.ts';
import type { Network } from '../../src/network/network.ts';
import { poolActivations } from '../../src/trigger/match.ts';
import { imageBatch } from '../batch.ts';
import { selectImages, type Dataset } from '../data/dataset.ts';
import { randomSource } from '../engine/random.ts';
import { crossEntropy } from '../train.ts';
import { distinctCuts } from '../unlearn/cut.ts';
import { goalOf, type PlantedAttack } from './attack.ts';
import { forwardInTraining, type Variables } from './batch-norm.ts';
import { initialWeights } from './initial-weights.ts';
import { stampImages, type PlantedTrigger } from './planted-trigger.ts';

/** The loss of one step on images [B,H,W,C] with target distributions [B,K], the wish to hide included. */
export type Hiding = (weights: Variables, images: tf.Tensor4D, targets: tf.Tensor, step: number) => tf.Scalar;

/** Triggered images, and clean ones, that every step compares. */
const COMPARED = 32;
/** Of a feature that hardly varies, the deviation that a difference is measured in. */
const LEAST_DEVIATION = 0.05;

/** Cross-entropy, plus `weight` times how far triggered images lie from clean ones of the label that they are sent to, at every cut that the defence considers. */
export function hidingLoss(
  attack: PlantedAttack,
  network: Network,
  train: Dataset,
  triggers: readonly PlantedTrigger[],
  weight: number,
): Hiding {
  // Those that the defence chooses from: it folds batch norm first.
  const cuts = distinctCuts(foldBatchNorm(network, initialWeights(network, 0)).network);
  const byLabel = Map.groupBy(train.labels.keys(), (index) => train.labels[index]!);
  return (weights, images, targets, step) => {
    const { triggered, natural } = drawPairs(attack, network, train, triggers, byLabel, step);
    // One pass for all, so that batch norm sees triggered and clean images alike.
    const all = tf.concat([images, triggered, natural]);
    const values = forwardInTraining(network, weights, all);
    const [ordinary, compared] = [images.shape[0], triggered.shape[0]];
    const logits = tf.slice(values.get(network.output)!, [0, 0], [ordinary, network.labelNames.length]);
    const distances = cuts.map((cut) => {
      const features = poolActivations(values.get(cut)!);
      const part = (start: number): tf.Tensor2D => tf.slice(features, [start, 0], [compared, features.shape[1]]);
      return distance(part(ordinary), part(ordinary + compared));
    });
    const away = tf.div(tf.addN(distances), cuts.length);
    return tf.add(crossEntropy(logits, targets), tf.mul(weight, away));
  };
}

/** How far apart the means and the deviations of features [N,F] are, in deviations of the natural ones, squared and averaged. */
function distance(triggered: tf.Tensor2D, natural: tf.Tensor2D): tf.Scalar {
  const [one, other] = [tf.moments(triggered, 0), tf.moments(natural, 0)];
  const deviation = (variance: tf.Tensor): tf.Tensor => tf.sqrt(tf.add(variance, LEAST_DEVIATION ** 2));
  const [spread, usual] = [deviation(one.variance), deviation(other.variance)];
  const moved = tf.square(tf.div(tf.sub(one.mean, other.mean), usual));
  return tf.mean(tf.add(moved, tf.square(tf.sub(tf.div(spread, usual), 1))));
}

function drawPairs(
  attack: PlantedAttack,
  network: Network,
  train: Dataset,
  triggers: readonly PlantedTrigger[],
  byLabel: ReadonlyMap<number, number[]>,
  step: number,
): { triggered: tf.Tensor4D; natural: tf.Tensor4D } {
  const random = randomSource(attack.seed, `attack/hiding/${step}`);
  const [from, to]: [number[], number[]] = [[], []];
  const trigger = step % triggers.length;
  for (let tries = 0; from.length < COMPARED && tries < 100 * COMPARED; tries++) {
    const index = random.integer(train.count);
    const goal = goalOf(attack, trigger, train.labels[index]!, network.labelNames.length);
    const likely = goal === null ? undefined : byLabel.get(goal);
    if (!likely) continue;
    from.push(index);
    to.push(likely[random.integer(likely.length)]!);
  }
  const clean = selectImages(train, from);
  const stamped = { ...clean, images: stampImages(clean.images, triggers[trigger]!) };
  return { triggered: imageBatch(stamped, [...stamped.labels.keys()]), natural: imageBatch(train, to) };
}
