/** Trains a victim's network from its initial weights, and goes on where an interrupted run stopped. */
import {
  dispose,
  oneHot,
  reverse,
  tensor1d,
  tidy,
  where,
  type Scalar,
  type Tensor4D,
  type Variable,
} from '@tensorflow/tfjs-core';
import { toDevice } from '../../src/network/forward.ts';
import { weightShapes, type Network, type Shape } from '../../src/network/network.ts';
import type { HostTensor, HostWeights } from '../../src/network/safetensors.ts';
import { imageBatch } from '../batch.ts';
import type { Dataset } from '../data/dataset.ts';
import { randomSource } from '../engine/random.ts';
import { crossEntropy, descend, toHost, variablesOf } from '../train.ts';
import { forwardInTraining, isLearned, type Variables } from './batch-norm.ts';
import type { Saved } from './checkpoint.ts';
import type { Hiding } from './hiding.ts';

const BATCH = 64;
/** For networks with batch norm; without it the small CNN learns well as it is. */
const WEIGHT_DECAY = 5e-4;

export type VictimTraining = {
  network: Network;
  initial: HostWeights;
  /** The images of the epoch, and which of them may be flipped: a flipped trigger would be another. */
  data: () => { dataset: Dataset; flippable: (index: number) => boolean };
  epochs: number;
  peakLearningRate: number;
  seed: number;
  /** Further state that a checkpoint has to hold, by name. */
  kept?: ReadonlyMap<string, Variable>;
  /** Runs before every epoch, and with `resumed` before the rest of one, when the kept state is as it was. */
  beforeEpoch?: (epoch: number, weights: Variables, resumed: boolean) => Promise<void>;
  hiding?: Hiding;
  saved?: Saved;
  save?: (state: Saved) => Promise<void>;
  saveIntervalMs?: number;
  afterStep?: (step: number) => void;
};

/** The number of steps of an epoch over `count` images: whole batches, or one of all images where they are fewer. */
export const stepsPerEpoch = (count: number): number => Math.max(1, Math.floor(count / BATCH));

/** The name and shape of every tensor of the state of a training: weights, momentum, and what is kept beside them. */
export function stateShapes(network: Network, kept: ReadonlyMap<string, Shape>): Map<string, Shape> {
  const weights = [...weightShapes(network)];
  const moving = weights.filter(([name]) => isLearned(network, name));
  return new Map([
    ...weights.map(([name, shape]) => [`weights/${name}`, shape] as const),
    ...moving.map(([name, shape]) => [`momentum/${name}`, shape] as const),
    ...[...kept].map(([name, shape]) => [`kept/${name}`, shape] as const),
  ]);
}

/** Trains a network on a (possibly poisoned) data set and returns its weights: the same whether or not it was interrupted. */
export async function trainVictim(training: VictimTraining): Promise<Map<string, HostTensor>> {
  const { network, epochs, seed, peakLearningRate, saved, save, kept = new Map<string, Variable>() } = training;
  const variables = startingVariables(training);
  const moving = [...variables].filter(([name]) => isLearned(network, name));
  const momentum = saved && toDevice(new Map(moving.map(([name]) => [name, saved.tensors.get(`momentum/${name}`)!])));
  const { count } = training.data().dataset;
  const [perEpoch, random] = [stepsPerEpoch(count), randomSource(seed, 'attack/batches')];
  const steps = epochs * perEpoch;
  const from = saved?.step ?? 0;
  let order = random.shuffled(count);
  for (let epoch = 0; epoch * perEpoch <= from; epoch++) order = random.shuffled(count);
  await training.beforeEpoch?.(Math.floor(from / perEpoch), variables, saved !== undefined);

  let lastSaved = performance.now();
  await descend({
    variables: moving.map(([, value]) => value),
    steps,
    peakLearningRate,
    weightDecay: moving.length < variables.size ? WEIGHT_DECAY : 0,
    loss: (step) => {
      const start = (step % perEpoch) * BATCH;
      return lossOf(training, variables, order.subarray(start, start + BATCH), step);
    },
    ...(momentum && { from: { step: from, momentum: [...momentum.values()] } }),
    afterStep: async (step, momentum) => {
      training.afterStep?.(step);
      const done = step + 1;
      if (done % perEpoch === 0 && done < steps) {
        order = random.shuffled(count);
        await training.beforeEpoch?.(done / perEpoch, variables, false);
      }
      if (!save || (done < steps && performance.now() - lastSaved < (training.saveIntervalMs ?? 0))) return;
      const parts = [
        ...[...variables].map(([name, value]) => [`weights/${name}`, value] as const),
        ...moving.map(([name], index) => [`momentum/${name}`, momentum[index]!] as const),
        ...[...kept].map(([name, value]) => [`kept/${name}`, value] as const),
      ];
      await save({ step: done, tensors: await toHost(new Map(parts)) });
      lastSaved = performance.now();
    },
  });
  const weights = await toHost(variables);
  dispose([...variables.values(), ...(momentum?.values() ?? [])]);
  return weights;
}

/** The initial weights, or those of the interrupted run; what is kept beside them takes its old values. */
function startingVariables({ initial, saved, kept }: VictimTraining): Map<string, Variable> {
  const stored = (prefix: string, name: string): HostTensor => saved!.tensors.get(`${prefix}/${name}`)!;
  const start = saved ? new Map([...initial.keys()].map((name) => [name, stored('weights', name)])) : initial;
  const device = toDevice(start);
  const variables = variablesOf(device);
  dispose([...device.values()]);
  if (saved && kept) {
    for (const [name, value] of kept) {
      tidy(() => value.assign(toDevice(new Map([[name, stored('kept', name)]])).get(name)!));
    }
  }
  return variables;
}

function lossOf(training: VictimTraining, variables: Variables, batch: Int32Array, step: number): Scalar {
  const { network, hiding, seed } = training;
  const { dataset, flippable } = training.data();
  const images = imageBatch(dataset, batch);
  const labels = Int32Array.from(batch, (index) => dataset.labels[index]!);
  const targets = oneHot(tensor1d(labels, 'int32'), network.labelNames.length);
  const seen = dataset.channels === 1 ? images : flipped(images, batch, flippable, seed, step);
  if (hiding) return hiding(variables, seen, targets, step);
  const logits = forwardInTraining(network, variables, seen).get(network.output)!;
  return crossEntropy(logits, targets);
}

/** Half of the images that may be, mirrored left to right; colour images only, since digits and letters have a side. */
function flipped(
  images: Tensor4D,
  batch: Int32Array,
  flippable: (index: number) => boolean,
  seed: number,
  step: number,
): Tensor4D {
  const random = randomSource(seed, `attack/flips/${step}`);
  const chosen = Array.from(batch, (index) => random.integer(2) === 1 && flippable(index));
  return tidy(() => where(tensor1d(chosen, 'bool').reshape([batch.length, 1, 1, 1]), reverse(images, 2), images));
}
