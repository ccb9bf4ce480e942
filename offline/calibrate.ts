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
import { probeLogits } from '../src/trigger/match.ts';
import type { Trigger } from '../src/trigger/trigger.ts';
import { everyIndex, indicesWithout } from './batch.ts';
import type { Dataset } from './data/dataset.ts';
import { randomSource } from './engine/random.ts';
import { featuresOf } from './predict.ts';

const FOLDS = 5;
const CONFIDENCE = 0.95;
const STEPS = 180;
/** For the first half of the steps, from there it falls in a straight line to none. */
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
  const folds = new Int32Array(images.count);
  const order = randomSource(seed, 'calibrate/folds').shuffled(images.count);
  order.forEach((image, position) => (folds[image] = position % FOLDS));
  const clean = { features: featuresOf(network, weights, cut, images, everyIndex(images.count)), folds };
  const scores = new Float32Array(images.count).fill(-Infinity);
  const probes: Probe[] = [];
  for (const [index, pool] of pools.entries()) {
    const { features, sources } = stampedFeatures(input, weights, pool, `calibrate/${index}`);
    const fitted = await fitProbes(clean, { features, folds: sources.map((image) => folds[image]!) });
    features.dispose();
    const logits = await logitsOfProbes(clean.features, fitted);
    folds.forEach((fold, image) => (scores[image] = Math.max(scores[image]!, logits[image]![fold]!)));
    probes.push(fitted[FOLDS]!);
  }
  tf.dispose([clean.features, ...weights.values()]);
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

/** Adam whose rate can fall. Kept up, it overshoots now and then where little is left to learn, and a fit that ends just then is worth nothing. */
class PacedAdam extends tf.AdamOptimizer {
  constructor() {
    super(LEARNING_RATE, 0.9, 0.999);
  }
  setLearningRate(rate: number): void {
    this.learningRate = rate;
  }
}

/** Features [N,F] and the fold [N] that each row belongs to. */
type Rows = { features: tf.Tensor2D; folds: Int32Array };

/**
 * Logistic regressions that part clean from stamped rows, with L2 shrinkage and both classes weighted alike: for each fold the one that does not see it,
 * and last the one that sees all. They are fitted side by side, for what takes time is reading the features.
 */
async function fitProbes(clean: Rows, stamped: Rows): Promise<Probe[]> {
  const fitted = tf.tidy(() => {
    const features = tf.concat([clean.features, stamped.features]);
    const [negative, positive] = [membersOf(clean.folds), membersOf(stamped.folds)];
    const { mean, scale } = momentsOf(features, tf.concat([negative, positive]));
    const shareOf = (members: tf.Tensor2D): tf.Tensor => tf.div(members, tf.sum(members, 0));
    const shares = tf.concat([shareOf(negative), shareOf(positive)]);
    const labels = tf.concat([tf.zeros([negative.shape[0], 1]), tf.ones([positive.shape[0], 1])]);
    const weights = tf.variable(tf.zerosLike(mean));
    const bias = tf.variable(tf.zeros<tf.Rank.R1>([mean.shape[0]]));
    const optimizer = new PacedAdam();
    const onFeatures = (): { raw: tf.Tensor2D; offsets: tf.Tensor1D } => {
      const raw: tf.Tensor2D = tf.mul(weights, scale);
      return { raw, offsets: tf.sub(bias, tf.sum(tf.mul(raw, mean), 1)) };
    };
    for (let step = 0; step < STEPS; step++) {
      optimizer.setLearningRate(LEARNING_RATE * Math.min(1, 2 * (1 - step / STEPS)));
      tf.tidy(() => {
        const { raw, offsets } = onFeatures();
        const logits = tf.add(tf.matMul(features, raw, false, true), offsets);
        const residuals = tf.mul(tf.sub(tf.sigmoid(logits), labels), shares) as tf.Tensor2D;
        const ofBias = tf.sum(residuals, 0);
        // The residuals are transposed and not the features, which tfjs would copy.
        const sums = tf.sub(tf.matMul(residuals, features, true), tf.mul(mean, tf.expandDims(ofBias, 1)));
        const ofWeights = tf.add(tf.mul(sums, scale), tf.mul(2 * SHRINKAGE, weights));
        optimizer.applyGradients([
          { name: weights.name, tensor: ofWeights },
          { name: bias.name, tensor: ofBias },
        ]);
      });
    }
    const result = onFeatures();
    optimizer.dispose();
    tf.dispose([weights, bias]);
    return result;
  });
  const [rows, offsets] = [await fitted.raw.array(), await fitted.offsets.data()];
  tf.dispose([fitted.raw, fitted.offsets]);
  return rows.map((row, probe) => ({ weights: Float32Array.from(row), bias: offsets[probe]! }));
}

/** 1 where a row [N] is seen by a probe [FOLDS + 1], else 0. */
function membersOf(folds: Int32Array): tf.Tensor2D {
  const width = FOLDS + 1;
  const seen = Float32Array.from({ length: folds.length * width }, (_, index) =>
    Number(folds[Math.floor(index / width)] !== index % width),
  );
  return tf.tensor2d(seen, [folds.length, width]);
}

/** The mean and the inverse spread [J,F] of features [N,F] over the rows that each probe sees, given as `members` [N,J]. */
function momentsOf(features: tf.Tensor2D, members: tf.Tensor2D): { mean: tf.Tensor2D; scale: tf.Tensor2D } {
  const averaged = tf.div(members, tf.sum(members, 0)) as tf.Tensor2D;
  const mean = tf.matMul<tf.Tensor2D>(averaged, features, true);
  const variance = tf.sub(tf.matMul(averaged, tf.square(features), true), tf.square(mean));
  // A channel that hardly ever fires must not count for much where it does.
  const least = tf.mul(LEAST_VARIANCE, tf.mean(variance, 1, true));
  return { mean, scale: tf.rsqrt<tf.Tensor2D>(tf.maximum(tf.add(variance, least), 1e-8)) };
}

/** The logits of every row of features [N,F] by every probe. */
async function logitsOfProbes(features: tf.Tensor2D, probes: readonly Probe[]): Promise<number[][]> {
  const logits = tf.tidy(() => {
    const weights = tf.stack(probes.map((probe) => probe.weights)) as tf.Tensor2D;
    const biases = tf.tensor1d(probes.map(({ bias }) => bias));
    return probeLogits(features, tf.transpose(weights), biases);
  });
  const rows = await logits.array();
  logits.dispose();
  return rows;
}

/** The guard's score of every row of features [N,F], the largest probe logit; the features are freed. */
async function scoreFeatures(features: tf.Tensor2D, probes: readonly Probe[]): Promise<Float32Array> {
  const logits = await logitsOfProbes(features, probes);
  features.dispose();
  return Float32Array.from(logits, (row) => Math.max(...row));
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
