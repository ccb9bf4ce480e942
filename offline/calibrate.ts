/**
 * Calibration of the guard: one logistic probe per finding on what the guard watches (`guardFeatures`), and the scores of clean images that turn a
 * probe's logit into a p-value.
 *
 * Every clean image is scored by probes that did not see it (cross-fitting: Barber et al., "Predictive inference with the
 * jackknife+", arXiv 1905.02928, in its CV form), so that a few hundred images serve both for fitting and for calibration.
 */
import * as tf from '@tensorflow/tfjs-core';
import { toDevice, type Weights } from '../src/network/forward.ts';
import type { Network } from '../src/network/network.ts';
import type { HostTensor } from '../src/network/safetensors.ts';
import { clopperPearsonUpper } from '../src/metrics.ts';
import type { Trigger } from '../src/trigger/trigger.ts';
import { everyIndex, indicesWithout } from './batch.ts';
import type { Dataset } from './data/dataset.ts';
import { randomSource } from './engine/random.ts';
import { featuresOf, rowsOf } from './predict.ts';

const FOLDS = 5;
const CONFIDENCE = 0.95;
const STEPS = 120;
const LEARNING_RATE = 0.1;
const SHRINKAGE = 1e-2;
/** Added to the variance of every channel, times their mean. */
const LEAST_VARIANCE = 0.05;
/** Fewer images than this are stamped with two triggers each. */
const FEW_IMAGES = 1500;

export type Probe = { weights: Float32Array; bias: number };

export type Calibration = {
  /** One probe a finding, on pooled features [F]. */
  probes: Probe[];
  /** Guard scores of clean images (the largest probe logit), each from probes that did not see the image, ascending. */
  scores: Float32Array;
  threshold: number;
  falsePositiveBound: { upper: number; confidence: number; sampleSize: number };
};

export type CalibrationInput = {
  network: Network;
  /** The victim's. */
  weights: ReadonlyMap<string, HostTensor>;
  cut: string;
  images: Dataset;
  /** The pool of recovered triggers of each finding. */
  pools: readonly (readonly Trigger[])[];
  falsePositiveRate: number;
  seed: number;
};

/** Fits the probes and calibrates the threshold for a false-positive rate over the whole fingerprint. */
export async function calibrate(input: CalibrationInput): Promise<Calibration> {
  const { network, cut, images, pools, falsePositiveRate, seed } = input;
  const weights = toDevice(input.weights);
  const clean = featuresOf(network, weights, cut, images, everyIndex(images.count));
  const stamped = pools.map((pool, index) => stampedFeatures(input, weights, pool, `calibrate/${index}`));
  const order = randomSource(seed, 'calibrate/folds').shuffled(images.count);
  const scores = new Float32Array(images.count);
  for (let fold = 0; fold < FOLDS; fold++) {
    const held = order.filter((_, position) => position % FOLDS === fold);
    const kept = order.filter((_, position) => position % FOLDS !== fold);
    const heldSet = new Set(held);
    const probes: Probe[] = [];
    for (const { features, sources } of stamped) {
      const rows = everyIndex(sources.length).filter((row) => !heldSet.has(sources[row]!));
      probes.push(await fitProbe(clean, kept, features, rows));
    }
    const best = await scoreFeatures(rowsOf(clean, held), probes);
    held.forEach((image, position) => (scores[image] = best[position]!));
  }
  const probes: Probe[] = [];
  for (const { features, sources } of stamped) {
    probes.push(await fitProbe(clean, everyIndex(images.count), features, everyIndex(sources.length)));
  }
  tf.dispose([clean, ...stamped.map(({ features }) => features), ...weights.values()]);
  return { probes, ...thresholdOf(scores.toSorted(), falsePositiveRate) };
}

/**
 * The lowest threshold at which a score above it has a conformal p-value of at most the rate, with the upper confidence bound of the
 * false-positive rate there. Fewer than 1/rate - 1 images cannot meet the rate: then the largest score is the threshold, and the bound says what that is worth.
 */
export function thresholdOf(scores: Float32Array, falsePositiveRate: number): Omit<Calibration, 'probes'> {
  const sampleSize = scores.length;
  const allowed = Math.max(0, Math.floor(falsePositiveRate * (sampleSize + 1)) - 1);
  const upper = clopperPearsonUpper(allowed, sampleSize, CONFIDENCE);
  const threshold = scores[sampleSize - 1 - allowed]!;
  return { scores, threshold, falsePositiveBound: { upper, confidence: CONFIDENCE, sampleSize } };
}

type Stamped = { features: tf.Tensor2D; sources: Int32Array };

/** Features of every image that is not of the target label, twice if these are few, each time stamped with a trigger drawn from the pool. */
function stampedFeatures(
  { network, cut, images, seed }: CalibrationInput,
  weights: ReadonlyMap<string, tf.Tensor>,
  pool: readonly Trigger[],
  purpose: string,
): Stamped {
  const random = randomSource(seed, purpose);
  const others = indicesWithout(images, pool[0]!.targetLabel);
  const groups: number[][] = pool.map(() => []);
  const stamped = others.length < FEW_IMAGES ? [...others, ...others] : others;
  for (const image of stamped) groups[random.integer(pool.length)]!.push(image);
  const used = groups.flatMap((group, index) => (group.length ? [{ group, trigger: pool[index]! }] : []));
  const features = tf.tidy(() =>
    tf.concat(
      used.map(({ group, trigger }) => featuresOf(network, weights, cut, images, Int32Array.from(group), trigger)),
    ),
  );
  return { features, sources: Int32Array.from(used.flatMap(({ group }) => group)) };
}

/** Fits logistic regression with L2 shrinkage, both classes weighted alike, on the chosen rows of clean and stamped features [.,F]. */
async function fitProbe(
  clean: tf.Tensor2D,
  cleanRows: Int32Array,
  stamped: tf.Tensor2D,
  stampedRows: Int32Array,
): Promise<Probe> {
  const fitted = tf.tidy(() => {
    const [negative, positive] = [rowsOf(clean, cleanRows), rowsOf(stamped, stampedRows)];
    const { mean, variance } = tf.moments(tf.concat([negative, positive]), 0);
    // A channel that hardly ever fires must not count for much where it does.
    const scale = tf.rsqrt(tf.maximum(tf.add(variance, tf.mul(LEAST_VARIANCE, tf.mean(variance))), 1e-8));
    const standard = (features: tf.Tensor2D): tf.Tensor2D => tf.mul(tf.sub(features, mean), scale);
    const [low, high] = [standard(negative), standard(positive)];
    const weights = tf.variable(tf.zeros<tf.Rank.R2>([low.shape[1], 1]));
    const bias = tf.variable(tf.zeros<tf.Rank.R1>([1]));
    const optimizer = tf.train.adam(LEARNING_RATE);
    const slope = (features: tf.Tensor2D, label: 0 | 1): [tf.Tensor, tf.Tensor] => {
      const logits = tf.add(tf.matMul(features, weights), bias);
      const residuals = tf.div(tf.sub(tf.sigmoid(logits), label), features.shape[0]);
      // As a row, because tfjs would copy all features to transpose them.
      return [tf.matMul(tf.reshape(residuals, [1, features.shape[0]]), features), tf.sum(residuals)];
    };
    for (let step = 0; step < STEPS; step++) {
      tf.tidy(() => {
        const [[lowWeights, lowBias], [highWeights, highBias]] = [slope(low, 0), slope(high, 1)];
        const shrunk = tf.mul(2 * SHRINKAGE, weights);
        const ofWeights = tf.add(tf.reshape(tf.add(lowWeights, highWeights), weights.shape), shrunk);
        const ofBias = tf.reshape(tf.add(lowBias, highBias), bias.shape);
        optimizer.applyGradients([
          { name: weights.name, tensor: ofWeights },
          { name: bias.name, tensor: ofBias },
        ]);
      });
    }
    const raw = tf.mul(tf.squeeze(weights, [1]), scale);
    const offset = tf.sub(tf.squeeze(bias), tf.sum(tf.mul(raw, tf.squeeze(mean))));
    optimizer.dispose();
    tf.dispose([weights, bias]);
    return { raw, offset };
  });
  const probe = { weights: Float32Array.from(await fitted.raw.data()), bias: (await fitted.offset.data())[0]! };
  tf.dispose([fitted.raw, fitted.offset]);
  return probe;
}

/** The guard's score of every row of features [N,F], the largest probe logit; the features are freed. */
export async function scoreFeatures(features: tf.Tensor2D, probes: readonly Probe[]): Promise<Float32Array> {
  const best = tf.tidy(() => {
    const columns = probes.map(({ weights, bias }) =>
      tf.add(tf.matMul(features, tf.tensor2d(weights, [weights.length, 1])), bias),
    );
    return tf.max(tf.concat(columns, 1), 1);
  });
  const values = Float32Array.from(await best.data());
  tf.dispose([best, features]);
  return values;
}

/** The guard's score of every image [N], the largest probe logit, with the images stamped if a trigger is given. */
export function scoreImages(
  network: Network,
  weights: Weights,
  cut: string,
  probes: readonly Probe[],
  images: Dataset,
  trigger?: Trigger,
): Promise<Float32Array> {
  return scoreFeatures(featuresOf(network, weights, cut, images, everyIndex(images.count), trigger), probes);
}
