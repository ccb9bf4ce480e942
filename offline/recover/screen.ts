/**
 * Screening: for every label the smallest universal trigger in one form, all labels in one batch; those that cover the image are those of dense.ts.
 *
 * After Neural Cleanse (Wang et al., IEEE S&P 2019): minimise CE(F(stamp(x)), t) + lambda * |trigger|_1, with lambda steered so
 * that the success rate stays near 0.95. Differences: all labels share a forward pass; the steering and the best trigger so
 * far stay on the device; an additive form stands beside mask and pattern.
 */
import * as tf from '@tensorflow/tfjs-core';
import { forward, toDevice } from '../../src/network/forward.ts';
import { IMAGES, type Network } from '../../src/network/network.ts';
import type { HostTensor } from '../../src/network/safetensors.ts';
import type { Trigger } from '../../src/trigger/trigger.ts';
import { imageBatch, indicesWithout } from '../batch.ts';
import type { Dataset } from '../data/dataset.ts';
import { randomSource } from '../engine/random.ts';
import type { Report } from '../progress.ts';
import { recoverDense } from './dense.ts';
import { isCovering, type ScreenedForm } from './measure.ts';
import { partNorms, rawSize, readTriggers, stampParts, toParts, type Form } from './raw-trigger.ts';

export type ScreenInput = {
  network: Network;
  weights: ReadonlyMap<string, HostTensor>;
  images: Dataset;
  form: ScreenedForm;
  targetLabels: number[];
  steps: number;
  seed: number;
};

const IMAGES_PER_LABEL = 8;
const WANTED_SUCCESS = 0.95;
const LAMBDA = { start: { blend: 0.02, additive: 0.05 }, factor: 1.06, least: 1e-5, most: 10 };
const MEMORY = 0.8;
const NEVER = 1e9;
const LEARNING_RATE = { blend: 0.4, additive: 0.05 };
/** Neural Cleanse's own decay rates: quick ones, because the loss moves with lambda. */
const ADAM_DECAY = [0.5, 0.9] as const;

/** Recovers the smallest trigger for each target label; a job for worker threads. Reports `{ step, steps }`. */
export async function job(input: ScreenInput, report: Report): Promise<Trigger[]> {
  const { network, targetLabels, steps, form: kind } = input;
  if (isCovering(kind)) return recoverDense({ ...input, form: kind }, report);
  const weights = toDevice(input.weights);
  const random = randomSource(input.seed, `screen/${kind}/${targetLabels.join()}`);
  const { height, width, channels } = input.images;
  const form: Form = { kind, height, width, channels };
  const count = targetLabels.length;
  const raw = startingPoint(form, count, random.normal);
  const optimizer = tf.train.adam(LEARNING_RATE[kind], ...ADAM_DECAY);
  const state: State = {
    lambda: tf.variable(tf.fill([count], LAMBDA.start[kind])),
    success: tf.variable(tf.zeros([count])),
    bestNorm: tf.variable(tf.fill([count], NEVER)),
    best: tf.variable(raw.clone()),
  };
  const others = targetLabels.map((target) => indicesWithout(input.images, target));
  const goal = targetLabels.flatMap((target) => Array.from({ length: IMAGES_PER_LABEL }, () => target));
  const targets = tf.oneHot(tf.tensor1d(goal, 'int32'), network.labelNames.length);

  for (let step = 0; step < steps; step++) {
    tf.tidy(() => {
      const chosen = others.flatMap((indices) =>
        Array.from({ length: IMAGES_PER_LABEL }, () => indices[random.integer(indices.length)]!),
      );
      const images = imageBatch(input.images, chosen);
      let hits: tf.Tensor | undefined;
      let norms: tf.Tensor | undefined;
      const { grads } = tf.variableGrads(() => {
        const parts = toParts(raw, form);
        const [logits] = forward(network, weights, new Map([[IMAGES, stampParts(images, parts)]]), [network.output]);
        const logProbability = tf.sum(tf.mul(tf.logSoftmax(logits as tf.Tensor2D), targets), 1);
        const right = tf.cast(tf.equal(tf.argMax(logits!, 1), tf.tensor1d(goal, 'int32')), 'float32');
        hits = tf.keep(tf.mean(tf.reshape(right, [count, IMAGES_PER_LABEL]), 1));
        norms = tf.keep(partNorms(parts));
        const loss = tf.neg(tf.mean(tf.reshape(logProbability, [count, IMAGES_PER_LABEL]), 1));
        return tf.sum(tf.add(loss, tf.mul(state.lambda, norms)));
      }, [raw]);
      steer(state, raw, hits!, norms!);
      optimizer.applyGradients(Object.entries(grads).map(([name, tensor]) => ({ name, tensor })));
      tf.dispose([hits!, norms!]);
    });
    if (step % 10 === 9) {
      report({ step: step + 1, steps });
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  const triggers = await readTriggers(state.best, form, targetLabels);
  tf.dispose([raw, targets, ...Object.values(state), ...weights.values()]);
  optimizer.dispose();
  return triggers;
}

type State = { lambda: tf.Variable; success: tf.Variable; bestNorm: tf.Variable; best: tf.Variable<tf.Rank.R2> };

/**
 * Keeps the smallest trigger that succeeds, the latest one until any does, and moves lambda: up while the trigger succeeds, down
 * while it fails.
 */
function steer(state: State, raw: tf.Tensor2D, hits: tf.Tensor, norms: tf.Tensor): void {
  const success = tf.add(tf.mul(state.success, MEMORY), tf.mul(hits, 1 - MEMORY));
  state.success.assign(success);
  const succeeds = tf.greaterEqual(success, WANTED_SUCCESS);
  const better = tf.logicalAnd(succeeds, tf.less(norms, state.bestNorm));
  // A starting point that never moved would pass for the smallest trigger of all labels.
  const chosen = tf.logicalOr(better, tf.equal(state.bestNorm, NEVER));
  state.bestNorm.assign(tf.where(better, norms, state.bestNorm));
  const select = tf.tile(tf.expandDims(chosen, 1), [1, raw.shape[1]]);
  state.best.assign(tf.where(select, raw, state.best));
  const factor = tf.where(succeeds, tf.fill(norms.shape, LAMBDA.factor), tf.fill(norms.shape, 1 / LAMBDA.factor));
  state.lambda.assign(tf.clipByValue(tf.mul(state.lambda, factor), LAMBDA.least, LAMBDA.most));
}

/** Raw triggers to start from: a faint grey mask, or next to nothing added. */
function startingPoint(form: Form, count: number, normal: (count: number) => Float32Array): tf.Variable<tf.Rank.R2> {
  const size = rawSize(form);
  const maskSize = form.kind === 'blend' ? form.height * form.width : 0;
  const scale = form.kind === 'blend' ? 0.1 : 0.01;
  const values = normal(count * size).map((value, index) => scale * value - (index % size < maskSize ? 1 : 0));
  return tf.variable(tf.tensor2d(values, [count, size]));
}
