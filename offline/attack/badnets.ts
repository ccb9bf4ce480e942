/**
 * BadNets (Gu et al., arXiv 1708.06733): a patch on a share of the training images, relabelled to the target.
 * As in the paper the poisoned images replace the originals; images that already carry the target label are not poisoned.
 */
import type { Trigger } from '../../src/trigger/trigger.ts';
import { randomSource, type RandomSource } from '../engine/random.ts';
import type { Patch } from './planted-trigger.ts';

type Shape = { height: number; width: number; channels: number };

/** A square patch of random black and white pixels, at least half of them white, at one random place of images [H,W,C]. */
export function patchTrigger(
  shape: Shape,
  { size, targetLabel, seed, purpose }: { size: number; targetLabel: number; seed: number; purpose: string },
): Trigger {
  const random = randomSource(seed, purpose);
  const place = { top: random.integer(shape.height - size + 1), left: random.integer(shape.width - size + 1) };
  return patchAt(shape, place, blackAndWhite(random, size, shape.channels), targetLabel);
}

/** The same patch, without a place. */
export function randomPatch(size: number, channels: number, seed: number, purpose: string): Patch {
  return blackAndWhite(randomSource(seed, purpose), size, channels);
}

/** The trigger that puts a patch at one place of images [H,W,C]. */
export function patchAt(
  shape: Shape,
  place: { top: number; left: number },
  patch: Patch,
  targetLabel: number,
): Trigger {
  const { height, width, channels } = shape;
  const { size } = patch;
  const mask = new Float32Array(height * width);
  const pattern = new Float32Array(height * width * channels);
  for (let index = 0; index < size * size; index++) {
    const position = (place.top + Math.floor(index / size)) * width + place.left + (index % size);
    mask[position] = 1;
    pattern.set(patch.pattern.subarray(index * channels, (index + 1) * channels), position * channels);
  }
  return { kind: 'blend', targetLabel, height, width, channels, mask, pattern };
}

function blackAndWhite(random: RandomSource, size: number, channels: number): Patch {
  const pixels = size * size;
  const order = random.shuffled(pixels);
  const white = Math.ceil(pixels / 2) + random.integer(Math.floor(pixels / 4) + 1);
  const pattern = Float32Array.from({ length: pixels * channels }, (_, index) =>
    order[Math.floor(index / channels)]! < white ? 1 : 0,
  );
  return { size, channels, pattern };
}
