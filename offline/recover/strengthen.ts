/**
 * Strengthening: how convincing can a trigger get that is hardly larger than the smallest one that works?
 *
 * Screening stops at the smallest trigger that just works. Within a quarter more norm, this maximises the mean log-odds of the target label. A
 * planted trigger was trained to convince from any image, a natural one only shares features with the label's own images.
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
import { partNorms, rawSize, readTriggers, stampParts, toParts, toRaw } from './raw-trigger.ts';

export type StrengthenInput = {
  network: Network;
  weights: ReadonlyMap<string, HostTensor>;
  images: Dataset;
  /** Triggers of one form; all are strengthened side by side. */
  triggers: readonly Trigger[];
  /** How many times its norm each may reach. */
  budgets: readonly number[];
  steps: number;
  seed: number;
};

const IMAGES_PER_TRIGGER = 8;
const EXCESS_WEIGHT = 200;
const LEARNING_RATE = { blend: 0.2, additive: 0.02 };

/** Log-odds [B] of the target label over the best other one; `goal` [B,K] is one-hot. */
export function margins(logits: tf.Tensor, goal: tf.Tensor): tf.Tensor1D {
  const target = tf.sum(tf.mul(logits, goal), 1);
  return tf.sub(target, tf.max(tf.sub(logits, tf.mul(goal, 1e6)), 1)) as tf.Tensor1D;
}

/** Strengthens triggers of one form within their norm budget; a job for worker threads. */
export async function job(input: StrengthenInput, report: Report): Promise<Trigger[]> {
  const { network, images, triggers, steps } = input;
  const form = triggers[0]!;
  const weights = toDevice(input.weights);
  const random = randomSource(input.seed, `strengthen/${form.kind}`);
  const start = Float32Array.from(triggers.flatMap((trigger) => [...toRaw(trigger)]));
  const raw = tf.variable(tf.tensor2d(start, [triggers.length, rawSize(form)]));
  const budget = tf.tensor1d(triggers.map((trigger, index) => input.budgets[index]! * triggerNorm(trigger)));
  const others = triggers.map(({ targetLabel }) => indicesWithout(images, targetLabel));
  const labels = triggers.flatMap(({ targetLabel }) => Array.from({ length: IMAGES_PER_TRIGGER }, () => targetLabel));
  const goal = tf.oneHot(tf.tensor1d(labels, 'int32'), network.labelNames.length);
  const optimizer = tf.train.adam(form.kind === 'blend' ? LEARNING_RATE.blend : LEARNING_RATE.additive, 0.5, 0.9);
  for (let step = 0; step < steps; step++) {
    tf.tidy(() => {
      const chosen = others.flatMap((indices) =>
        Array.from({ length: IMAGES_PER_TRIGGER }, () => indices[random.integer(indices.length)]!),
      );
      const batch = imageBatch(images, chosen);
      optimizer.minimize(
        () => {
          const parts = toParts(raw, form);
          const [logits] = forward(network, weights, new Map([[IMAGES, stampParts(batch, parts)]]), [network.output]);
          const excess = tf.relu(tf.sub(tf.div(partNorms(parts), budget), 1));
          const conviction = tf.div(tf.sum(margins(logits!, goal)), IMAGES_PER_TRIGGER);
          return tf.sub(tf.mul(EXCESS_WEIGHT, tf.sum(excess)), conviction);
        },
        false,
        [raw],
      );
    });
    if (step % 10 === 9) {
      report({ step: step + 1, steps });
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  const strengthened = await readTriggers(
    raw,
    form,
    triggers.map(({ targetLabel }) => targetLabel),
  );
  tf.dispose([raw, budget, goal, ...weights.values()]);
  optimizer.dispose();
  return strengthened;
}
