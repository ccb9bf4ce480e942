/**
 * Fine-tuning all layers on clean images: by itself (FT), of a pruned network (fine-pruning), or with recovered triggers on a share of
 * the images, which keep their true labels (MESA, arXiv 1910.04749; Neural Cleanse, IEEE S&P 2019, "unlearning").
 */
import * as tf from '@tensorflow/tfjs-core';
import { forward, toDevice } from '../../src/network/forward.ts';
import { IMAGES, type Network } from '../../src/network/network.ts';
import type { HostTensor, HostWeights } from '../../src/network/safetensors.ts';
import { stamp, type Trigger } from '../../src/trigger/trigger.ts';
import { imageBatch } from '../batch.ts';
import type { Dataset } from '../data/dataset.ts';
import { randomSource, type RandomSource } from '../engine/random.ts';
import type { Report } from '../progress.ts';
import { crossEntropy, descend, toHost, variablesOf } from '../train.ts';
import { shifted } from '../unlearn/views.ts';

/** What every defence that trains the whole network needs. */
export type Tuning = {
  network: Network;
  weights: HostWeights;
  images: Dataset;
  steps: number;
  peakLearningRate: number;
  seed: number;
};

export type FineTuning = Tuning & {
  /** Triggers, one of them stamped on the first images of each batch, this share (0..1) of it. */
  stamped?: { triggers: readonly Trigger[]; share: number };
  /** Factors 0 or 1 of some weights: what a defence has pruned stays pruned. */
  masks?: HostWeights;
};

export const BATCH = 64;

/** Fine-tunes all layers and returns the network's weights; a job for worker threads. Reports `{ step, steps }`. */
export async function job(input: FineTuning, report: Report): Promise<HostWeights> {
  const { network, images, steps, peakLearningRate, stamped } = input;
  const device = toDevice(input.weights);
  const variables = trainable(device);
  const masks = toDevice(input.masks ?? new Map<string, HostTensor>());
  const current = (): Map<string, tf.Tensor> =>
    new Map([
      ...device,
      ...variables,
      ...[...masks].map(([name, mask]): [string, tf.Tensor] => [name, tf.mul(variables.get(name)!, mask)]),
    ]);
  const random = tuningRandom(input.seed);
  await descend({
    variables: [...variables.values()],
    steps,
    peakLearningRate,
    loss: () => {
      const batch = drawBatch(images, network, random);
      const fed = stamped ? stampSome(batch.images, stamped, random) : batch.images;
      const [logits] = forward(network, current(), new Map([[IMAGES, fed]]), [network.output]);
      return crossEntropy(logits!, batch.targets);
    },
    afterStep: (step) => report({ step: step + 1, steps }),
  });
  const tuned = new Map([...input.weights, ...(await toHost(variables))]);
  tf.dispose([...device.values(), ...variables.values(), ...masks.values()]);
  return tuned;
}

/** Variables of all weights but the moments of batch norms that could not be folded. */
export function trainable(device: ReadonlyMap<string, tf.Tensor>): Map<string, tf.Variable> {
  return variablesOf(new Map([...device].filter(([name]) => !/\/(mean|variance)$/.test(name))));
}

/** The random numbers that fine-tuning draws from, the same ones for every defence, so that only the method differs. */
export const tuningRandom = (seed: number): RandomSource => randomSource(seed, 'baseline/fine-tune');

/** The next batch: images [B,H,W,C] in 0..1, shifted together at random, and their true labels one-hot [B,K]. */
export function drawBatch(
  images: Dataset,
  network: Network,
  random: RandomSource,
): { images: tf.Tensor4D; targets: tf.Tensor } {
  const chosen = Int32Array.from({ length: BATCH }, () => random.integer(images.count));
  const labels = chosen.map((index) => images.labels[index]!);
  return {
    images: shifted(imageBatch(images, chosen), random),
    targets: tf.oneHot(tf.tensor1d(labels, 'int32'), network.labelNames.length),
  };
}

function stampSome(
  images: tf.Tensor4D,
  { triggers, share }: NonNullable<FineTuning['stamped']>,
  random: RandomSource,
): tf.Tensor4D {
  const trigger = triggers[random.integer(triggers.length)]!;
  const count = Math.round(share * BATCH);
  const [first, rest] = tf.split<tf.Tensor4D>(images, [count, BATCH - count]);
  return tf.concat([stamp(first!, trigger), rest!]);
}
