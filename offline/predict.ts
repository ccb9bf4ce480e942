/** Running a network over a whole data set, in batches. */
import { argMax, concat, dispose, tidy, type Tensor, type Tensor2D, type Tensor4D } from '@tensorflow/tfjs-core';
import { forward, type Weights } from '../src/network/forward.ts';
import { IMAGES, type Network } from '../src/network/network.ts';
import { stamp, type Trigger } from '../src/trigger/trigger.ts';
import { poolActivations } from '../src/trigger/match.ts';
import { imageBatch } from './batch.ts';
import type { Dataset } from './data/dataset.ts';

const BATCH = 128;

/** Applies `step` to batches of images [B,H,W,C] in 0..1 of the chosen indices and joins the results along the batch axis. */
function overBatches(dataset: Dataset, indices: Int32Array, step: (images: Tensor4D) => Tensor): Tensor {
  const parts: Tensor[] = [];
  for (let start = 0; start < indices.length; start += BATCH) {
    parts.push(tidy(() => step(imageBatch(dataset, indices.subarray(start, start + BATCH)))));
  }
  const joined = tidy(() => concat(parts));
  dispose(parts);
  return joined;
}

/** The logits [N,K] of the chosen images, stamped with a trigger if one is given. */
export function logitsOf(
  network: Network,
  weights: Weights,
  dataset: Dataset,
  indices: Int32Array,
  trigger?: Trigger,
): Tensor2D {
  const run = (images: Tensor4D): Tensor => {
    const stamped = trigger ? stamp(images, trigger) : images;
    return forward(network, weights, new Map([[IMAGES, stamped]]), [network.output])[0]!;
  };
  return overBatches(dataset, indices, run) as Tensor2D;
}

/** The predicted labels [N] of the chosen images, stamped with a trigger if one is given. */
export async function predict(
  network: Network,
  weights: Weights,
  dataset: Dataset,
  indices: Int32Array,
  trigger?: Trigger,
): Promise<Int32Array> {
  const labels = tidy(() => argMax(logitsOf(network, weights, dataset, indices, trigger), 1));
  const values = Int32Array.from(await labels.data());
  labels.dispose();
  return values;
}

/** Pooled trunk activations [N,F] of the chosen images (match.ts), stamped with a trigger if one is given. */
export function featuresOf(
  network: Network,
  weights: Weights,
  cut: string,
  dataset: Dataset,
  indices: Int32Array,
  trigger?: Trigger,
): Tensor2D {
  const run = (images: Tensor4D): Tensor => {
    const stamped = trigger ? stamp(images, trigger) : images;
    return poolActivations(forward(network, weights, new Map([[IMAGES, stamped]]), [cut])[0]!);
  };
  return overBatches(dataset, indices, run) as Tensor2D;
}
