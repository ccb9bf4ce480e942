/** A backdoor trigger and how it is stamped on images. */
import { add, clipByValue, mul, sub, tensor4d, type Tensor, type Tensor4D } from '@tensorflow/tfjs-core';
import { warpImages, warpPixels } from './warp.ts';

/**
 * `blend`: x' = (1 - m) * x + m * p, with `mask` m [H,W,1] and `pattern` p [H,W,C] in 0..1.
 * `additive`: x' = clip(x + d, 0, 1), with `pattern` d [H,W,C] in -1..1.
 * `warp`: x'(p) = x(p + f(p)), with `pattern` f [H,W,2], the flow in pixels, down and right.
 */
export type Trigger = {
  readonly targetLabel: number;
  readonly height: number;
  readonly width: number;
  readonly channels: number;
} & (
  | { readonly kind: 'blend'; readonly mask: Float32Array; readonly pattern: Float32Array }
  | { readonly kind: 'additive'; readonly pattern: Float32Array }
  | { readonly kind: 'warp'; readonly pattern: Float32Array }
);

export type TriggerKind = Trigger['kind'];

/** How many values a trigger's pattern has at each place. */
export const patternDepth = ({ kind, channels }: Pick<Trigger, 'kind' | 'channels'>): number =>
  kind === 'warp' ? 2 : channels;

/** The largest absolute value of a trigger's pattern: in 0..1, or pixels of a warp. */
export const amplitudeOf = ({ pattern }: Trigger): number =>
  pattern.reduce((most, value) => Math.max(most, Math.abs(value)), 0);

/** Blends a pattern into images [B,H,W,C] in 0..1; `mask` broadcasts to [B,H,W,1] and `pattern` to [B,H,W,C]. Differentiable. */
export function blend<T extends Tensor>(images: T, mask: Tensor, pattern: Tensor): T {
  return add(images, mul(mask, sub(pattern, images)));
}

/** Adds a pattern to images [B,H,W,C] and clips to 0..1; `pattern` broadcasts to [B,H,W,C]. Differentiable. */
export function addPattern<T extends Tensor>(images: T, pattern: Tensor): T {
  return clipByValue(add(images, pattern), 0, 1);
}

/** Stamps one trigger on images [B,H,W,C] in 0..1. */
export function stamp(images: Tensor4D, trigger: Trigger): Tensor4D {
  const { height, width } = trigger;
  const pattern = tensor4d(trigger.pattern, [1, height, width, patternDepth(trigger)]);
  if (trigger.kind === 'warp') return warpImages(images, pattern, Math.ceil(amplitudeOf(trigger)));
  if (trigger.kind === 'additive') return addPattern(images, pattern);
  return blend(images, tensor4d(trigger.mask, [1, height, width, 1]), pattern);
}

/** Stamps one trigger on 8-bit pixels [N,H,W,C], rounding as an image file would. */
export function stampPixels(pixels: Uint8Array, trigger: Trigger): Uint8Array {
  const { kind, channels, pattern } = trigger;
  if (kind === 'warp') return warpPixels(pixels, trigger, pattern);
  return pixels.map((value, index) => {
    const position = index % pattern.length;
    const wanted = pattern[position]! * 255;
    const stamped =
      kind === 'blend' ? value + trigger.mask[Math.floor(position / channels)]! * (wanted - value) : value + wanted;
    return Math.round(Math.min(255, Math.max(0, stamped)));
  });
}

/** The size of a trigger: the sum of its mask, or of the absolute values of its pattern averaged over their depth. */
export function triggerNorm(trigger: Trigger): number {
  const values = trigger.kind === 'blend' ? trigger.mask : trigger.pattern;
  const total = values.reduce((sum, value) => sum + Math.abs(value), 0);
  return trigger.kind === 'blend' ? total : total / patternDepth(trigger);
}
