/**
 * BadNets (Gu et al., arXiv 1708.06733): a patch on a share of the training images, relabelled to the target.
 * As in the paper the poisoned images replace the originals; images that already carry the target label are not poisoned.
 */
import type { Trigger } from '../../src/trigger/trigger.ts';
import { stampPixels } from '../../src/trigger/trigger.ts';
import type { Dataset } from '../data/dataset.ts';
import { randomSource } from '../engine/random.ts';

export type Patch = { size: number; targetLabel: number; seed: number };

/** A square patch of random black and white pixels, at least half of them white, at one random place of images [H,W,C]. */
export function patchTrigger(shape: { height: number; width: number; channels: number }, patch: Patch): Trigger {
  const { height, width, channels } = shape;
  const random = randomSource(patch.seed, 'attack/patch');
  const top = random.integer(height - patch.size + 1);
  const left = random.integer(width - patch.size + 1);
  const pixels = patch.size * patch.size;
  const order = random.shuffled(pixels);
  const white = Math.ceil(pixels / 2) + random.integer(Math.floor(pixels / 4) + 1);
  const mask = new Float32Array(height * width);
  const pattern = new Float32Array(height * width * channels);
  for (let index = 0; index < pixels; index++) {
    const position = (top + Math.floor(index / patch.size)) * width + left + (index % patch.size);
    mask[position] = 1;
    pattern.fill(order[index]! < white ? 1 : 0, position * channels, (position + 1) * channels);
  }
  return { kind: 'blend', targetLabel: patch.targetLabel, height, width, channels, mask, pattern };
}

/** Stamps and relabels a random share (0..1) of all images, none of them of the target label; at most all that can be. */
export function poison(dataset: Dataset, trigger: Trigger, poisonRate: number, seed: number): Dataset {
  const images = dataset.images.slice();
  const labels = dataset.labels.slice();
  const size = images.length / dataset.count;
  const wanted = Math.round(poisonRate * dataset.count);
  const eligible = randomSource(seed, 'attack/poison')
    .shuffled(dataset.count)
    .filter((index) => labels[index] !== trigger.targetLabel);
  for (const index of eligible.subarray(0, wanted)) {
    images.set(stampPixels(images.slice(index * size, (index + 1) * size), trigger), index * size);
    labels[index] = trigger.targetLabel;
  }
  return { ...dataset, images, labels };
}
