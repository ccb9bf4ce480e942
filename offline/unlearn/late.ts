/**
 * Late unlearning, the default: the trunk stays frozen and still sees the trigger, the head is trained until it no longer obeys it.
 *
 * Min-cross-entropy unlearning (MESA's retraining, arXiv 1910.04749): triggered copies keep the answer of the clean image. Differences: only
 * the layers behind the cut move; the answer is the victim's own prediction (distillation, Hinton et al., arXiv 1503.02531), which
 * holds the clean accuracy where it was and needs no labels; what it is asked about are views (views.ts), so that a few hundred images hold the
 * head to the victim's function and not just to a few hundred points. To it comes BAERASER's ascent (arXiv 2201.09538, Eq. 4) in a form
 * that cannot run away: the probability of the label that a trigger asks for goes down, not its cross-entropy up. So a trigger becomes evidence
 * against its label, and one that is stronger than those recovered pushes further away from it. What was recovered is never quite what was
 * planted, so the head learns from the worst activations near those of its copies (nearby.ts).
 */
import * as tf from '@tensorflow/tfjs-core';
import { headWeights } from '../../src/network/cuts.ts';
import { forward, toDevice } from '../../src/network/forward.ts';
import type { Network } from '../../src/network/network.ts';
import type { HostTensor, HostWeights } from '../../src/network/safetensors.ts';
import type { Trigger } from '../../src/trigger/trigger.ts';
import type { Dataset } from '../data/dataset.ts';
import { randomSource } from '../engine/random.ts';
import type { Report } from '../progress.ts';
import { crossEntropies, descend, toHost, variablesOf } from '../train.ts';
import { worstNearby, type Asked } from './nearby.ts';
import { seeSamples, type SampleBatch } from './samples.ts';
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

/** And whether the head is relaxed afterwards. */
export type LateUnlearning = Unlearning & { relaxes: boolean };

/** The unlearned network's weights, those of the trunk as they were, and what was measured on the way. */
export type Unlearned = { weights: HostWeights; tradeOff: Moment[] };
/** And its weights when it was held to the victim's answers again, and denied triggers only a little; null where that was not asked. */
export type UnlearnedLate = Unlearned & { relaxed: HostWeights | null };

const BATCH = 64;
/** Activations are as large as a network makes them, so the steps that they cause must be bounded. */
const LARGEST_NORM = 1;
/** How much the answers to triggered copies weigh against those to clean images. */
const TRIGGERED_WEIGHT = 0.2;
/** What is denied once would not be pushed any further, had logits not been made so many times smaller first. */
const DENIAL_TEMPERATURE = 2;
/** How long a head learns, and how much the probability weighs that a trigger gives its label. */
type Phase = { steps: number; denialWeight: number; peakLearningRate: number };
const UNLEARNING: Omit<Phase, 'steps'> = { denialWeight: 8, peakLearningRate: 1e-2 };
/** What has been denied stays so for a while, and clean images get back what denying it took. */
const RELAXING: Phase = { steps: 100, denialWeight: 2, peakLearningRate: 1e-2 };
/** How much more the images of that label weigh among the clean ones: they are the few that denying it could cost. */
const PROTECTION_WEIGHT = 4;
/** How much of the work is sending images through the trunk, as progress tells it. */
const SEEING_SHARE = 0.5;

/** Unlearns triggers in the head, and relaxes it if that is asked; a job for worker threads. */
export async function job(input: LateUnlearning, report: Report): Promise<UnlearnedLate> {
  const { network, cut, steps, relaxes } = input;
  const allSteps = steps + (relaxes ? RELAXING.steps : 0);
  const tell = (share: number): void => report({ step: Math.floor(share * steps), steps });
  const tellStep = (step: number): void => tell(SEEING_SHARE + ((1 - SEEING_SHARE) * (step + 1)) / allSteps);
  const device = toDevice(input.weights);
  const variables = variablesOf(headWeights(network, device, cut));
  const current = new Map([...device, ...variables]);
  const random = randomSource(input.seed, `unlearn/late/${cut}`);

  const samples = await seeSamples(input, device, random, (share) => tell(SEEING_SHARE * share));
  const watch = input.watched && openWatch(network, cut, device, input.watched);
  await watch?.look(0, current);
  const learn = async (
    { denialWeight, ...pace }: Phase,
    afterStep: (step: number) => void | Promise<void>,
  ): Promise<HostWeights> => {
    await descend({
      ...pace,
      variables: [...variables.values()],
      largestNorm: LARGEST_NORM,
      draw: () => {
        const batch = samples.batch(Int32Array.from({ length: BATCH }, () => random.integer(samples.count)));
        return { ...batch, triggered: worstNearby({ network, weights: current, cut, ...batch }) };
      },
      loss: (_, batch) => lossOf({ network, weights: current, cut, ...batch }, denialWeight),
      afterStep,
    });
    return new Map([...input.weights, ...(await toHost(variables))]);
  };
  const weights = await learn({ ...UNLEARNING, steps }, async (step) => {
    tellStep(step);
    if (step % WATCH_STEPS === WATCH_STEPS - 1) await watch?.look(step + 1, current);
  });
  const relaxed = relaxes ? await learn(RELAXING, (step) => tellStep(steps + step)) : null;
  watch?.end();
  tf.dispose([...device.values(), ...variables.values()]);
  return { weights, relaxed, tradeOff: watch?.moments ?? [] };
}

/** What is wrong with the answers to a batch: how far those to clean and to triggered images are from the victim's, and how much triggers are obeyed. */
function lossOf({ network, weights, cut, ...batch }: Asked & SampleBatch, denialWeight: number): tf.Scalar {
  const { clean, triggered, answers, unearned } = batch;
  const [logits] = forward(network, weights, new Map([[cut, tf.concat([clean, triggered])]]), [network.output]);
  const [onClean, onTriggered] = tf.split(logits as tf.Tensor2D, 2);
  const earned = tf.sub(1, tf.sum(unearned, 1));
  const kept = tf.mul(tf.add(1, tf.mul(PROTECTION_WEIGHT, earned)), crossEntropies(onClean!, answers));
  const restored = tf.mul(TRIGGERED_WEIGHT, crossEntropies(onTriggered!, answers));
  const likely = tf.softmax(tf.div(onTriggered!, DENIAL_TEMPERATURE));
  const obeyed = tf.mul(denialWeight, tf.sum(tf.mul(unearned, likely), 1));
  return tf.mean(tf.add(kept, tf.add(restored, obeyed)));
}
