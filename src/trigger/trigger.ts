/** A backdoor trigger and how it is stamped on images. */
import { add, clipByValue, mul, sub, tensor4d, type Tensor, type Tensor4D } from '@tensorflow/tfjs-core';

/**
 * `blend`: x' = (1 - m) * x + m * p, with `mask` m [H,W,1] and `pattern` p [H,W,C] in 0..1.
 * `additive`: x' = clip(x + d, 0, 1), with `pattern` d [H,W,C] in -1..1.
 */
export type Trigger = {
  readonly targetLabel: number;
  readonly height: number;
  readonly width: number;
  readonly channels: number;
} & (
  | { readonly kind: 'blend'; readonly mask: Float32Array; readonly pattern: Float32Array }
  | { readonly kind: 'additive'; readonly pattern: Float32Array }
);

export type TriggerKind = Trigger['kind'];

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
  const { height, width, channels } = trigger;
  const pattern = tensor4d(trigger.pattern, [1, height, width, channels]);
  if (trigger.kind === 'additive') return addPattern(images, pattern);
  return blend(images, tensor4d(trigger.mask, [1, height, width, 1]), pattern);
}

/** Stamps one trigger on 8-bit pixels [N,H,W,C], rounding as an image file would. */
export function stampPixels(pixels: Uint8Array, trigger: Trigger): Uint8Array {
  const { kind, channels, pattern } = trigger;
  return pixels.map((value, index) => {
    const position = index % pattern.length;
    const wanted = pattern[position]! * 255;
    const stamped =
      kind === 'blend' ? value + trigger.mask[Math.floor(position / channels)]! * (wanted - value) : value + wanted;
    return Math.round(Math.min(255, Math.max(0, stamped)));
  });
}

/** The size of a trigger: the sum of its mask, or of the absolute values of its additive pattern averaged over the channels. */
export function triggerNorm(trigger: Trigger): number {
  const values = trigger.kind === 'blend' ? trigger.mask : trigger.pattern;
  const total = values.reduce((sum, value) => sum + Math.abs(value), 0);
  return trigger.kind === 'blend' ? total : total / trigger.channels;
}
