/**
 * Late unlearning, the default: the trunk stays frozen and still sees the trigger, the head is trained until it no longer obeys it.
 *
 * Min-cross-entropy unlearning (MESA's retraining, arXiv 1910.04749): triggered copies keep the answer of the clean image. Differences: only
 * the layers behind the cut move; the answer is the victim's own prediction (distillation, Hinton et al., arXiv 1503.02531), which
 * holds the clean accuracy where it was and needs no labels; what a trigger changes at the cut is stretched; the images are shifted at random, so that a few hundred hold the
 * head to the victim's function and not just to a few hundred points.
 */
import * as tf from '@tensorflow/tfjs-core';
import { forward, toDevice } from '../../src/network/forward.ts';
import { IMAGES, type Network } from '../../src/network/network.ts';
import type { HostTensor, HostWeights } from '../../src/network/safetensors.ts';
import { headWeightShapes } from '../../src/release/release.ts';
import { stamp, type Trigger } from '../../src/trigger/trigger.ts';
import { imageBatch } from '../batch.ts';
import type { Dataset } from '../data/dataset.ts';
import { randomSource, type RandomSource } from '../engine/random.ts';
import type { Report } from '../progress.ts';
import { crossEntropy, descend, toHost, variablesOf } from '../train.ts';
import { openWatch, WATCH_STEPS, type Moment, type Watched } from './trade-off.ts';

export type Unlearning = {
  network: Network;
  weights: ReadonlyMap<string, HostTensor>;
  /** The node that ends the trunk. */
  cut: string;
  images: Dataset;
  /** Recovered triggers; each batch is stamped with one of them. */
  triggers: readonly Trigger[];
  steps: number;
  seed: number;
  /** What to measure on the way, if anything. */
  watched?: Watched;
};

/** The unlearned network's weights, those of the trunk as they were, and what was measured on the way. */
export type Unlearned = { weights: HostWeights; tradeOff: Moment[] };

const BATCH = 64;
const PEAK_LEARNING_RATE = 5e-3;
/** How much forgetting the trigger weighs against keeping the clean answers. */
const TRIGGERED_WEIGHT = 0.4;
/** A recovered trigger just works, a planted one is stronger: the shift it causes at the cut is stretched by 1 to 1 + this. */
const STRETCH = 3;
/** The largest random shift, as a share of the image's sides. */
const SHIFT_SHARE = 1 / 14;

/** Unlearns triggers in the head; a job for worker threads. */
export async function job(input: Unlearning, report: Report): Promise<Unlearned> {
  const { network, cut, images, triggers, steps } = input;
  const device = toDevice(input.weights);
  const names = [...headWeightShapes(network, cut).keys()];
  const variables = variablesOf(new Map(names.map((name) => [name, device.get(name)!])));
  const current = new Map([...device, ...variables]);
  const random = randomSource(input.seed, `unlearn/late/${cut}`);

  const watch = input.watched && openWatch(network, cut, device, input.watched);
  await watch?.look(0, current);
  await descend({
    variables: [...variables.values()],
    steps,
    peakLearningRate: PEAK_LEARNING_RATE,
    loss: () => {
      const chosen = Int32Array.from({ length: BATCH }, () => random.integer(images.count));
      const clean = shifted(imageBatch(images, chosen), random);
      const triggered = stamp(clean, triggers[random.integer(triggers.length)]!);
      const [both] = forward(network, device, new Map([[IMAGES, tf.concat([clean, triggered])]]), [cut]);
      const [cleanActivations, triggeredActivations] = tf.split(both!, 2) as [tf.Tensor, tf.Tensor];
      const strength = 1 + STRETCH * random.uniform(1)[0]!;
      const pushed = tf.add(cleanActivations, tf.mul(strength, tf.sub(triggeredActivations, cleanActivations)));
      const activations = tf.concat([cleanActivations, pushed]);
      const [victimLogits] = forward(network, device, new Map([[cut, cleanActivations]]), [network.output]);
      const [logits] = forward(network, current, new Map([[cut, activations]]), [network.output]);
      const [onClean, onTriggered] = tf.split(logits!, 2);
      const answers = tf.softmax(victimLogits as tf.Tensor2D);
      const forgetting = crossEntropy(onTriggered!, answers);
      return tf.add(crossEntropy(onClean!, answers), tf.mul(TRIGGERED_WEIGHT, forgetting));
    },
    afterStep: async (step) => {
      report({ step: step + 1, steps });
      if (step % WATCH_STEPS === WATCH_STEPS - 1) await watch?.look(step + 1, current);
    },
  });
  const purified = new Map([...input.weights, ...(await toHost(variables))]);
  watch?.end();
  tf.dispose([...device.values(), ...variables.values()]);
  return { weights: purified, tradeOff: watch?.moments ?? [] };
}

/** Images [B,H,W,C] moved together by a random number of pixels, black where nothing was. */
export function shifted(images: tf.Tensor4D, random: RandomSource): tf.Tensor4D {
  const [count, height, width, channels] = images.shape;
  const [vertical, horizontal] = [Math.round(height * SHIFT_SHARE), Math.round(width * SHIFT_SHARE)];
  const padded = tf.pad4d(images, [
    [0, 0],
    [vertical, vertical],
    [horizontal, horizontal],
    [0, 0],
  ]);
  const start = [0, random.integer(2 * vertical + 1), random.integer(2 * horizontal + 1), 0];
  return tf.slice(padded, start, [count, height, width, channels]);
}
