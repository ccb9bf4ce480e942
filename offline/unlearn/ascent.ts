/**
 * The paper's unlearning (BAERASER, arXiv 2201.09538, eq. 4): all layers, gradient ascent on the recovered triggers, a weighted penalty:
 *   L = alpha * (CE(F(x), y) - CE(F(stamp(x)), t)) + beta * sum_k omega_k |theta_k - theta0_k|
 * Differences: omega is the paper's mean |dCE_clean / dtheta_k| (the released code has a constant), divided by its own mean so
 * that beta does not depend on the network; the ascent term is capped, since it has no bound; images of the
 * target label take no part in it; the number of steps is fixed, where the released code stops by the true trigger on test images.
 */
import * as tf from '@tensorflow/tfjs-core';
import { forward, toDevice } from '../../src/network/forward.ts';
import { IMAGES } from '../../src/network/network.ts';
import { stamp } from '../../src/trigger/trigger.ts';
import { imageBatch, indicesWithout } from '../batch.ts';
import type { Dataset } from '../data/dataset.ts';
import { randomSource } from '../engine/random.ts';
import type { Report } from '../progress.ts';
import { crossEntropy, descend, toHost, variablesOf } from '../train.ts';
import { sensitivity } from './penalty.ts';
import type { Unlearned, Unlearning } from './late.ts';
import { openWatch, WATCH_STEPS } from './trade-off.ts';

/** The weights of the loss; omega is the paper's sensitivity, or 1 for every weight. */
export type AscentWeights = { alpha: number; beta: number; omega: 'sensitivity' | 'one' };
export type Ascent = Unlearning & AscentWeights;

/** What `purify` takes. */
export const ASCENT_WEIGHTS: AscentWeights = { alpha: 1, beta: 1e-3, omega: 'sensitivity' };
const BATCH = 64;
const PEAK_LEARNING_RATE = 2e-3;
/** A cross-entropy of 6 leaves the target a probability of 0.25 %. */
export const ASCENT_CAP = 6;
const REFRESH_STEPS = 50;

/** Unlearns triggers in all layers by gradient ascent; a job for worker threads. */
export async function job(input: Ascent, report: Report): Promise<Unlearned> {
  const { network, images, triggers, steps, alpha, beta } = input;
  const origin = toDevice(input.weights);
  const variables = variablesOf(origin);
  const random = randomSource(input.seed, 'unlearn/ascent');
  const pick = (from: ArrayLike<number>): Int32Array =>
    Int32Array.from({ length: BATCH }, () => from[random.integer(from.length)]!);
  const all = Array.from({ length: images.count }, (_, index) => index);
  const others = new Map(triggers.map(({ targetLabel }) => [targetLabel, indicesWithout(images, targetLabel)]));
  const logits = (batch: tf.Tensor4D): tf.Tensor =>
    forward(network, variables, new Map([[IMAGES, batch]]), [network.output])[0]!;
  const oneHot = (labels: Int32Array): tf.Tensor => tf.oneHot(tf.tensor1d(labels, 'int32'), network.labelNames.length);
  const cleanLoss = (): tf.Scalar => {
    const chosen = pick(all);
    return crossEntropy(logits(imageBatch(images, chosen)), oneHot(trueLabels(images, chosen)));
  };
  const weigh = (): Map<string, tf.Tensor> =>
    input.omega === 'one' ? onesLike(variables) : sensitivity(cleanLoss, variables);
  let omega = weigh();

  const watch = input.watched && openWatch(network, IMAGES, origin, input.watched);
  await watch?.look(0, variables);
  await descend({
    variables: [...variables.values()],
    steps,
    peakLearningRate: PEAK_LEARNING_RATE,
    loss: () => {
      const trigger = triggers[random.integer(triggers.length)]!;
      const chosen = pick(others.get(trigger.targetLabel)!);
      const targets = oneHot(new Int32Array(BATCH).fill(trigger.targetLabel));
      const obeyed = crossEntropy(logits(stamp(imageBatch(images, chosen), trigger)), targets);
      const drift = [...variables].map(([name, value]) =>
        tf.sum(tf.mul(omega.get(name)!, tf.abs(tf.sub(value, origin.get(name)!)))),
      );
      const unlearned = tf.sub(cleanLoss(), tf.minimum(obeyed, ASCENT_CAP));
      return tf.add(tf.mul(alpha, unlearned), tf.mul(beta, tf.addN(drift)));
    },
    afterStep: async (step) => {
      if (step % REFRESH_STEPS === REFRESH_STEPS - 1) {
        tf.dispose([...omega.values()]);
        omega = weigh();
      }
      report({ step: step + 1, steps });
      if (step % WATCH_STEPS === WATCH_STEPS - 1) await watch?.look(step + 1, variables);
    },
  });
  const purified = await toHost(variables);
  watch?.end();
  tf.dispose([...origin.values(), ...variables.values(), ...omega.values()]);
  return { weights: purified, tradeOff: watch?.moments ?? [] };
}

const trueLabels = (images: Dataset, indices: Int32Array): Int32Array => indices.map((index) => images.labels[index]!);

const onesLike = (variables: ReadonlyMap<string, tf.Variable>): Map<string, tf.Tensor> =>
  new Map([...variables].map(([name, value]) => [name, tf.onesLike(value)]));
