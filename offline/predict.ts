/** Running a network over a whole data set, in batches. */
import {
  argMax,
  concat,
  dispose,
  gather,
  mul,
  oneHot,
  softmax,
  sum,
  tensor1d,
  tidy,
  type Tensor,
  type Tensor2D,
} from '@tensorflow/tfjs-core';
import type { Answers } from '../src/metrics.ts';
import { forward, toDevice, type Weights } from '../src/network/forward.ts';
import { IMAGES, type Network } from '../src/network/network.ts';
import type { HostWeights } from '../src/network/safetensors.ts';
import { stamp, type Trigger } from '../src/trigger/trigger.ts';
import { guardFeatures, poolActivations } from '../src/trigger/match.ts';
import { everyIndex, imageBatch } from './batch.ts';
import type { Dataset } from './data/dataset.ts';

const BATCH = 128;

/** What `read` makes of the activations of each node over the chosen images, batch by batch, stamped with a trigger if one is given. */
function overBatches(
  { network, weights, nodes }: { network: Network; weights: Weights; nodes: readonly string[] },
  dataset: Dataset,
  indices: Int32Array,
  trigger: Trigger | undefined,
  read: (activations: Tensor[]) => Tensor[],
): Tensor2D[] {
  const parts: Tensor[][] = [];
  for (let start = 0; start < indices.length; start += BATCH) {
    const part = tidy(() => {
      const images = imageBatch(dataset, indices.subarray(start, start + BATCH));
      const stamped = trigger ? stamp(images, trigger) : images;
      return read(forward(network, weights, new Map([[IMAGES, stamped]]), nodes));
    });
    parts.push(part);
  }
  const joined = tidy(() => nodes.map((_, node) => concat(parts.map((part) => part[node]!))));
  dispose(parts);
  return joined as Tensor2D[];
}

/** The logits [N,K] of the chosen images, stamped with a trigger if one is given. */
export function logitsOf(
  network: Network,
  weights: Weights,
  dataset: Dataset,
  indices: Int32Array,
  trigger?: Trigger,
): Tensor2D {
  const place = { network, weights, nodes: [network.output] };
  return overBatches(place, dataset, indices, trigger, (logits) => logits)[0]!;
}

/** The activations [N,...] of the chosen images at a node, stamped with a trigger if one is given. */
export function activationsOf(
  network: Network,
  weights: Weights,
  node: string,
  dataset: Dataset,
  indices: Int32Array,
  trigger?: Trigger,
): Tensor {
  const place = { network, weights, nodes: [node] };
  return overBatches(place, dataset, indices, trigger, (activations) => activations)[0]!;
}

/** The predicted labels [N] of the chosen images, stamped with a trigger if one is given. */
export async function predict(
  network: Network,
  weights: Weights,
  dataset: Dataset,
  indices: Int32Array,
  trigger?: Trigger,
): Promise<Int32Array> {
  return labelsOf(logitsOf(network, weights, dataset, indices, trigger));
}

/** The labels [N] of logits [N,K], which are freed. */
export async function labelsOf(logits: Tensor2D): Promise<Int32Array> {
  const labels = tidy(() => argMax(logits, 1));
  const values = Int32Array.from(await labels.data());
  dispose([labels, logits]);
  return values;
}

/** What a model answers to the images of a data set. */
export async function answersOf(network: Network, host: HostWeights, dataset: Dataset): Promise<Answers> {
  const weights = toDevice(host);
  const logits = logitsOf(network, weights, dataset, everyIndex(dataset.count));
  const confidences = tidy(() => {
    const truth = oneHot(tensor1d(dataset.labels, 'int32'), network.labelNames.length);
    return sum(mul(softmax(logits), truth), 1);
  });
  const values = Float32Array.from(await confidences.data());
  dispose([confidences, ...weights.values()]);
  return { labels: await labelsOf(logits), confidences: values };
}

/** What a guard judges [N,F] of the chosen images (match.ts) in a victim, stamped with a trigger if one is given. */
export function featuresOf(
  network: Network,
  weights: Weights,
  cut: string,
  dataset: Dataset,
  indices: Int32Array,
  trigger?: Trigger,
): Tensor2D {
  const place = { network, weights, nodes: [cut] };
  return overBatches(place, dataset, indices, trigger, ([activations]) => [
    guardFeatures(network, weights, cut, activations!),
  ])[0]!;
}

/** Logits [N,K] and pooled trunk activations [N,F] of the chosen images in one pass, stamped with a trigger if one is given. */
export function logitsWithFeatures(
  network: Network,
  weights: Weights,
  cut: string,
  dataset: Dataset,
  indices: Int32Array,
  trigger?: Trigger,
): { logits: Tensor2D; features: Tensor2D } {
  const place = { network, weights, nodes: [network.output, cut] };
  const [logits, features] = overBatches(place, dataset, indices, trigger, ([answer, activations]) => {
    return [answer!, poolActivations(activations!)];
  });
  return { logits: logits!, features: features! };
}

/** Predicted labels [N] of a purified network and, from the same pass, what its guard judges [N,F] of the chosen images. */
export async function predictWithFeatures(
  { network, weights, victimHead, cut }: { network: Network; weights: Weights; victimHead: Weights; cut: string },
  dataset: Dataset,
  indices: Int32Array,
): Promise<{ labels: Int32Array; features: Tensor2D }> {
  const place = { network, weights, nodes: [network.output, cut] };
  const [logits, features] = overBatches(place, dataset, indices, undefined, ([answer, activations]) => {
    return [answer!, guardFeatures(network, victimHead, cut, activations!)];
  });
  return { labels: await labelsOf(logits!), features: features! };
}

/** Some rows of a matrix [N,F]. */
export const rowsOf = (matrix: Tensor2D, rows: Int32Array): Tensor2D =>
  tidy(() => gather(matrix, tensor1d(rows, 'int32')));
