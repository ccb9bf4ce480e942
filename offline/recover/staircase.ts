/**
 * The max-entropy staircase: one generator for each level eps, trained with the mutual-information estimator.
 *
 * After BAERASER (arXiv 2201.09538) and MESA (arXiv 1910.04749): L_G = mean max(0, eps - p_t(stamp(x, G(z)))) - 0.1 MI. The
 * hinge stops pushing once the target's probability passes eps, so each level models another part of the distribution of
 * working triggers. Differences: the generator varies a screened whole-image trigger (generator.ts) and its mean
 * norm is kept near the screened one; every image gets its own trigger; the label and the form come from screening.
 */
import * as tf from '@tensorflow/tfjs-core';
import { forward, toDevice } from '../../src/network/forward.ts';
import { IMAGES, type Network } from '../../src/network/network.ts';
import type { HostTensor } from '../../src/network/safetensors.ts';
import { triggerNorm, type Trigger } from '../../src/trigger/trigger.ts';
import { imageBatch, indicesWithout } from '../batch.ts';
import type { Dataset } from '../data/dataset.ts';
import { randomSource } from '../engine/random.ts';
import type { Report } from '../progress.ts';
import { makeGenerator, NOISE } from './generator.ts';
import { makeEstimator } from './mutual-information.ts';
import { partNorms, readTriggers, stampParts, toParts, toRaw } from './raw-trigger.ts';

export type StaircaseInput = {
  network: Network;
  weights: ReadonlyMap<string, HostTensor>;
  images: Dataset;
  /** The screened trigger that the generator varies. */
  screened: Trigger;
  /** The level eps in 0..1. */
  level: number;
  steps: number;
  /** How many triggers to draw from the trained generator. */
  draws: number;
  seed: number;
};

const BATCH = 32;
const HIDDEN = 64;
const INFORMATION_WEIGHT = 0.1;
const NORM_WEIGHT = 0.5;
const LEARNING_RATE = 2e-3;

/** Trains one level's generator and draws triggers from it; a job for worker threads. Reports `{ step, steps }`. */
export async function job(input: StaircaseInput, report: Report): Promise<Trigger[]> {
  const { network, images, screened, steps, draws } = input;
  const weights = toDevice(input.weights);
  const random = randomSource(input.seed, `staircase/${screened.kind}/${screened.targetLabel}/${input.level}`);
  const base = toRaw(screened);
  const generator = makeGenerator(base, HIDDEN, random.normal);
  const estimator = makeEstimator(base.length, HIDDEN, random.normal);
  const optimizers = [tf.train.adam(LEARNING_RATE, 0.5, 0.999), tf.train.adam(LEARNING_RATE, 0.5, 0.999)];
  const others = indicesWithout(images, screened.targetLabel);
  const norm = triggerNorm(screened);
  const noise = (): tf.Tensor2D => tf.tensor2d(random.uniform(BATCH * NOISE), [BATCH, NOISE]);

  for (let step = 0; step < steps; step++) {
    tf.tidy(() => {
      const chosen = Array.from({ length: BATCH }, () => others[random.integer(others.length)]!);
      const clean = imageBatch(images, chosen);
      const [z, other] = [noise(), noise()];
      optimizers[0]!.minimize(
        () => {
          const raw = generator.generate(z);
          const parts = toParts(raw, screened);
          const stamped = stampParts(clean, parts);
          const [logits] = forward(network, weights, new Map([[IMAGES, stamped]]), [network.output]);
          const probability = tf.gather(tf.transpose(tf.softmax(logits as tf.Tensor2D)), [screened.targetLabel]);
          const hinge = tf.mean(tf.relu(tf.sub(input.level, probability)));
          const information = estimator.bound(z, other, tf.tanh(raw));
          const excess = tf.relu(tf.sub(tf.div(tf.mean(partNorms(parts)), norm), 1));
          return tf.add(tf.sub(hinge, tf.mul(INFORMATION_WEIGHT, information)), tf.mul(NORM_WEIGHT, excess));
        },
        false,
        generator.variables,
      );
      const [fresh, independent] = [noise(), noise()];
      const triggers = tf.tanh(generator.generate(fresh)) as tf.Tensor2D;
      optimizers[1]!.minimize(() => estimator.loss(fresh, independent, triggers), false, estimator.variables);
    });
    if (step % 10 === 9) {
      report({ step: step + 1, steps });
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  const drawn = tf.tidy(() => generator.generate(tf.tensor2d(random.uniform(draws * NOISE), [draws, NOISE])));
  const triggers = await readTriggers(
    drawn,
    screened,
    Array.from({ length: draws }, () => screened.targetLabel),
  );
  estimator.dispose();
  tf.dispose([drawn, ...generator.variables, ...weights.values()]);
  optimizers.forEach((optimizer) => optimizer.dispose());
  return triggers;
}
