/**
 * Pruning for fine-pruning (Liu et al., RAID 2018, arXiv 1805.12185): channels that clean images leave quiet may serve the backdoor alone.
 * A channel of the last image-shaped node is pruned by what reads it: zeros in the rows of the first dense layer behind it. That
 * also works in residual networks, where the last convolution is added to a shortcut.
 */
import { addN, mean, mul, tidy, type Tensor } from '@tensorflow/tfjs-core';
import { forward, toDevice } from '../../src/network/forward.ts';
import { cutCandidates, headLayers } from '../../src/network/cuts.ts';
import { IMAGES, nodeShapes, type Network } from '../../src/network/network.ts';
import { cleanAccuracy } from '../../src/metrics.ts';
import type { HostTensor, HostWeights } from '../../src/network/safetensors.ts';
import { everyIndex, imageBatch } from '../batch.ts';
import type { Dataset } from '../data/dataset.ts';
import type { Model } from '../model.ts';
import { predict } from '../predict.ts';
import type { Split } from '../recover/screening.ts';

/** The share of the held-back accuracy that pruning must leave. */
const ACCURACY_KEPT = 0.9;
const SHARE_STEP = 0.05;
const BATCH = 128;

/** The pruned node and its reader: a dense layer's kernel [rows,units], of which row r reads channel r modulo `channels`. */
export type PruningPlace = { node: string; channels: number; kernel: string };

/** Where channels can be pruned; undefined in a network without a dense layer behind its last image-shaped node. */
export function pruningPlace(network: Network): PruningPlace | undefined {
  const shapes = nodeShapes(network);
  if (!shapes.ok) throw new Error(shapes.error);
  const node = cutCandidates(network).findLast((name) => shapes.value.get(name)!.length === 3);
  if (!node) return undefined;
  const reader = headLayers(network, node).find(({ type }) => type === 'dense');
  return reader && { node, channels: shapes.value.get(node)!.at(-1)!, kernel: `${reader.name}/kernel` };
}

/** The channels of a node by their mean activation over all images, the quietest first. */
export async function quietestFirst({ network, weights }: Model, node: string, images: Dataset): Promise<number[]> {
  const activity = tidy(() => {
    const device = toDevice(weights);
    const sums: Tensor[] = [];
    for (let start = 0; start < images.count; start += BATCH) {
      const part = tidy(() => {
        const batch = imageBatch(images, everyIndex(images.count).subarray(start, start + BATCH));
        const [activations] = forward(network, device, new Map([[IMAGES, batch]]), [node]);
        return mul(mean(activations!, [0, 1, 2]), batch.shape[0] / images.count);
      });
      sums.push(part);
    }
    return addN(sums);
  });
  const values = await activity.data();
  activity.dispose();
  return [...values.keys()].toSorted((a, b) => values[a]! - values[b]!);
}

/** Factors of the reading kernel: 0 in the rows that read the pruned channels, else 1. */
export function pruningMask(
  { channels, kernel }: PruningPlace,
  weights: HostWeights,
  pruned: readonly number[],
): HostTensor {
  const { shape } = weights.get(kernel)!;
  const units = shape[1]!;
  const quiet = new Set(pruned);
  const data = Float32Array.from({ length: shape[0]! * units }, (_, index) =>
    quiet.has(Math.floor(index / units) % channels) ? 0 : 1,
  );
  return { dtype: 'F32', shape, data };
}

/** The mask for the most channels, quietest first, without which held-back accuracy stays above nine tenths of what it was. */
export async function choosePruning(
  model: Model,
  place: PruningPlace,
  { learn, heldBack }: Split,
): Promise<HostTensor> {
  const { network, weights } = model;
  const order = await quietestFirst(model, place.node, learn);
  const device = toDevice(weights);
  const accuracy = async (mask: HostTensor): Promise<number> => {
    const factors = toDevice(new Map([['mask', mask]])).get('mask')!;
    const kernel = mul(device.get(place.kernel)!, factors);
    const answers = await predict(
      network,
      new Map([...device, [place.kernel, kernel]]),
      heldBack,
      everyIndex(heldBack.count),
    );
    factors.dispose();
    kernel.dispose();
    return cleanAccuracy(answers, heldBack.labels).rate;
  };
  let chosen = pruningMask(place, weights, []);
  const least = ACCURACY_KEPT * (await accuracy(chosen));
  for (let share = SHARE_STEP; share < 1; share += SHARE_STEP) {
    const mask = pruningMask(place, weights, order.slice(0, Math.round(share * place.channels)));
    if ((await accuracy(mask)) < least) break;
    chosen = mask;
  }
  device.forEach((tensor) => tensor.dispose());
  return chosen;
}
