import { oneHot, tensor1d } from '@tensorflow/tfjs-core';
import { forward, toDevice } from '../../src/network/forward.ts';
import { IMAGES, type Network } from '../../src/network/network.ts';
import type { HostTensor } from '../../src/network/safetensors.ts';
import { imageBatch } from '../batch.ts';
import type { Dataset } from '../data/dataset.ts';
import { randomSource } from '../engine/random.ts';
import { crossEntropy, descend, toHost, variablesOf } from '../train.ts';
import { initialWeights } from './small-cnn.ts';

export type VictimTraining = {
  epochs: number;
  seed: number;
  afterStep?: (step: number, steps: number) => void;
};

const BATCH = 64;

/** Trains a network without batch norm from scratch on a (possibly poisoned) data set and returns its weights. */
export async function trainVictim(
  network: Network,
  dataset: Dataset,
  { epochs, seed, afterStep }: VictimTraining,
): Promise<Map<string, HostTensor>> {
  const initial = toDevice(initialWeights(network, seed));
  const variables = variablesOf(initial);
  initial.forEach((tensor) => tensor.dispose());
  const random = randomSource(seed, 'attack/batches');
  const stepsPerEpoch = Math.floor(dataset.count / BATCH);
  const steps = epochs * stepsPerEpoch;
  let order = random.shuffled(dataset.count);
  await descend({
    variables: [...variables.values()],
    steps,
    peakLearningRate: 0.05,
    loss: (step) => {
      const start = (step % stepsPerEpoch) * BATCH;
      if (start === 0) order = random.shuffled(dataset.count);
      const batch = order.subarray(start, start + BATCH);
      const images = imageBatch(dataset, batch);
      const labels = Int32Array.from(batch, (index) => dataset.labels[index]!);
      const targets = oneHot(tensor1d(labels, 'int32'), network.labelNames.length);
      const [logits] = forward(network, variables, new Map([[IMAGES, images]]), [network.output]);
      return crossEntropy(logits!, targets);
    },
    afterStep: (step) => afterStep?.(step, steps),
  });
  const weights = await toHost(variables);
  variables.forEach((value) => value.dispose());
  return weights;
}
