/** The triggers that attacks plant, as data, and how each is stamped on 8-bit images [N,H,W,C]. */
import { createHash } from 'node:crypto';
import { stampPixels, type Trigger } from '../../src/trigger/trigger.ts';
import { warpPixels, type Flow } from '../../src/trigger/warp.ts';
import { randomSource } from '../engine/random.ts';

/** A square of pixels [S,S,C] in 0..1. */
export type Patch = { size: number; channels: number; pattern: Float32Array };

/**
 * `fixed`: the same blend or addition for every image. `moving`: a patch at a place that follows from the seed and the image's own
 * pixels, so that an image is always stamped alike, whatever stands beside it. `warp`: each image bent along one flow.
 */
export type PlantedTrigger = { height: number; width: number; channels: number } & (
  | { form: 'fixed'; trigger: Trigger }
  | { form: 'moving'; patch: Patch; seed: number }
  | { form: 'warp'; flow: Flow }
);

/** A trigger that is the same for every image. */
export function fixed(trigger: Trigger): PlantedTrigger {
  const { height, width, channels } = trigger;
  return { form: 'fixed', height, width, channels, trigger };
}

/** Stamps a trigger on images [N,H,W,C] in 0..255: the same pixels for the same image and trigger. */
export function stampImages(images: Uint8Array, planted: PlantedTrigger): Uint8Array {
  if (planted.form === 'fixed') return stampPixels(images, planted.trigger);
  if (planted.form === 'warp') return warpPixels(images, planted, planted.flow);
  const size = planted.height * planted.width * planted.channels;
  const stamped = images.slice();
  for (let start = 0; start < stamped.length; start += size) {
    pastePatch(stamped.subarray(start, start + size), planted);
  }
  return stamped;
}

function pastePatch(image: Uint8Array, planted: Extract<PlantedTrigger, { form: 'moving' }>): void {
  const { height, width, patch } = planted;
  const random = randomSource(planted.seed, `attack/place/${createHash('sha256').update(image).digest('hex')}`);
  const top = random.integer(height - patch.size + 1);
  const left = random.integer(width - patch.size + 1);
  const row = patch.size * patch.channels;
  for (let line = 0; line < patch.size; line++) {
    const values = patch.pattern.subarray(line * row, (line + 1) * row);
    const start = ((top + line) * width + left) * patch.channels;
    image.set(
      Uint8Array.from(values, (value) => Math.round(255 * value)),
      start,
    );
  }
}
