/** Running a network over a whole data set, in batches. */
import { argMax, concat, dispose, tidy, type Tensor, type Tensor2D } from '@tensorflow/tfjs-core';
import { forward, type Weights } from '../src/network/forward.ts';
import { IMAGES, type Network } from '../src/network/network.ts';
import { stamp, type Trigger } from '../src/trigger/trigger.ts';
import { poolActivations } from '../src/trigger/match.ts';
import { imageBatch } from './batch.ts';
import type { Dataset } from './data/dataset.ts';

const BATCH = 128;

/** What `read` makes of one node's activations over the chosen images, batch by batch, stamped with a trigger if one is given. */
function overBatches(
  { network, weights, node }: { network: Network; weights: Weights; node: string },
  dataset: Dataset,
  indices: Int32Array,
  trigger: Trigger | undefined,
  read: (activations: Tensor) => Tensor,
): Tensor2D {
  const parts: Tensor[] = [];
  for (let start = 0; start < indices.length; start += BATCH) {
    const part = tidy(() => {
      const images = imageBatch(dataset, indices.subarray(start, start + BATCH));
      const stamped = trigger ? stamp(images, trigger) : images;
      return read(forward(network, weights, new Map([[IMAGES, stamped]]), [node])[0]!);
    });
    parts.push(part);
  }
  const joined = tidy(() => concat(parts));
  dispose(parts);
  return joined as Tensor2D;
}

/** The logits [N,K] of the chosen images, stamped with a trigger if one is given. */
export function logitsOf(
  network: Network,
  weights: Weights,
  dataset: Dataset,
  indices: Int32Array,
  trigger?: Trigger,
): Tensor2D {
  const place = { network, weights, node: network.output };
  return overBatches(place, dataset, indices, trigger, (logits) => logits);
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
  return overBatches({ network, weights, node: cut }, dataset, indices, trigger, poolActivations);
}
