/**
 * The reference: a small network that the defender trains on the clean images alone, so nobody can have planted anything in it.
 *
 * A natural trigger shows features of the target label and moves this network towards the label too; a planted trigger is a pattern that only
 * the victim was taught, and leaves it where it was. The idea that natural triggers are features of the data, which other networks
 * share, is that of universal perturbations (Moosavi-Dezfooli et al., arXiv 1610.08401, section 4).
 */
import * as tf from '@tensorflow/tfjs-core';
import { forward, toDevice } from '../../src/network/forward.ts';
import { IMAGES, type Network } from '../../src/network/network.ts';
import type { HostWeights } from '../../src/network/safetensors.ts';
import { initialWeights } from '../attack/initial-weights.ts';
import { smallCnn } from '../attack/small-cnn.ts';
import { imageBatch } from '../batch.ts';
import type { Dataset } from '../data/dataset.ts';
import { randomSource } from '../engine/random.ts';
import type { Model } from '../model.ts';
import type { Report } from '../progress.ts';
import { crossEntropy, descend, toHost, variablesOf } from '../train.ts';
import { shifted } from '../unlearn/views.ts';

export type ReferenceInput = { images: Dataset; labelNames: string[]; steps: number; seed: number };

const BATCH = 32;
const PEAK_LEARNING_RATE = 0.05;
/** Larger images are averaged down to about so many pixels a side: the reference must be quick, not good. */
const SIDE = 32;

/** Trains the reference on clean images; a job for worker threads. Reports `{ step, steps }`. */
export async function job({ images, labelNames, steps, seed }: ReferenceInput, report: Report): Promise<Model> {
  const network = referenceNetwork(images, labelNames);
  const random = randomSource(seed, 'reference');
  const start = toDevice(initialWeights(network, seed));
  const variables = variablesOf(start);
  await descend({
    variables: [...variables.values()],
    steps,
    peakLearningRate: PEAK_LEARNING_RATE,
    largestNorm: 1,
    loss: () => {
      const chosen = Int32Array.from({ length: BATCH }, () => random.integer(images.count));
      const labels = chosen.map((index) => images.labels[index]!);
      const batch = shifted(imageBatch(images, chosen), random);
      const [logits] = forward(network, variables, new Map([[IMAGES, batch]]), [network.output]);
      return crossEntropy(logits!, tf.oneHot(tf.tensor1d(labels, 'int32'), labelNames.length));
    },
    afterStep: (step) => report({ step: step + 1, steps }),
  });
  const weights: HostWeights = await toHost(variables);
  tf.dispose([...start.values(), ...variables.values()]);
  return { network, weights };
}

function referenceNetwork({ height, width, channels }: Dataset, labelNames: string[]): Network {
  const size = Math.max(1, Math.floor(Math.min(height, width) / SIDE));
  const network = smallCnn({ height, width, channels }, labelNames);
  if (size === 1) return network;
  const pool: Network['layers'][number] = {
    type: 'averagePool',
    name: 'reduced',
    inputs: [IMAGES],
    poolSize: [size, size],
    strides: [size, size],
    padding: 'valid',
  };
  const layers = network.layers.map((layer, index) => (index === 0 ? { ...layer, inputs: ['reduced'] } : layer));
  return { ...network, layers: [pool, ...layers] as Network['layers'] };
}
