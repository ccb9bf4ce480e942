/** Triggers under optimisation: N of them as one raw, unbounded tensor [N,outputs], mask before pattern, squashed by tanh. */
import * as tf from '@tensorflow/tfjs-core';
import { addPattern, blend, patternDepth, type Trigger } from '../../src/trigger/trigger.ts';
import { warpImages } from '../../src/trigger/warp.ts';

/** What a raw trigger needs to know of its trigger. */
export type Form = Pick<Trigger, 'kind' | 'height' | 'width' | 'channels'>;

/** How many raw numbers one trigger has. */
export function rawSize(form: Form): number {
  return form.height * form.width * (patternDepth(form) + (form.kind === 'blend' ? 1 : 0));
}

/** The raw form of one trigger [outputs]. */
export function toRaw(trigger: Trigger): Float32Array {
  // Values at the very ends of the range would have no gradient left.
  const raw = (value: number): number => Math.atanh(Math.min(0.98, Math.max(-0.98, value)));
  if (trigger.kind !== 'blend') return trigger.pattern.map(raw);
  const unit = (value: number): number => raw(2 * value - 1);
  return Float32Array.of(...trigger.mask.map(unit), ...trigger.pattern.map(unit));
}

export type Parts = { kind: Trigger['kind']; mask?: tf.Tensor4D; pattern: tf.Tensor4D };

/** A warp under optimisation points no further, in pixels. */
const REACH = 1;

/** Mask [N,H,W,1] in 0..1 (for `blend`) and pattern [N,H,W,C] from raw triggers [N,outputs]; of a warp the flow [N,H,W,2], up to a pixel along each axis. */
export function toParts(raw: tf.Tensor2D, form: Form): Parts {
  const { kind, height, width, channels } = form;
  const bounded = tf.tanh(raw);
  const count = raw.shape[0];
  if (kind !== 'blend') return { kind, pattern: tf.reshape(bounded, [count, height, width, patternDepth(form)]) };
  const unit = tf.mul(tf.add(bounded, 1), 0.5);
  const [mask, pattern] = tf.split(unit, [height * width, height * width * channels], 1);
  return {
    kind,
    mask: tf.reshape(mask!, [count, height, width, 1]),
    pattern: tf.reshape(pattern!, [count, height, width, channels]),
  };
}

/** Stamps trigger n on images n*B .. n*B+B-1 of [N*B,H,W,C]. */
export function stampParts(images: tf.Tensor4D, { kind, mask, pattern }: Parts): tf.Tensor4D {
  if (kind === 'warp') return warpImages(images, pattern, REACH);
  const [count, height, width, channels] = pattern.shape;
  const grouped = tf.reshape(images, [count, -1, height, width, channels]);
  const overGroup = (part: tf.Tensor): tf.Tensor => tf.expandDims(part, 1);
  const stamped = mask ? blend(grouped, overGroup(mask), overGroup(pattern)) : addPattern(grouped, overGroup(pattern));
  return tf.reshape(stamped, images.shape);
}

/** The norms [N] of triggers, as `triggerNorm` has them. */
export function partNorms({ mask, pattern }: Parts): tf.Tensor1D {
  return mask ? tf.sum(mask, [1, 2, 3]) : tf.div(tf.sum(tf.abs(pattern), [1, 2, 3]), pattern.shape[3]);
}

/** Reads raw triggers [N,outputs] back, one target label each. */
export async function readTriggers(raw: tf.Tensor2D, form: Form, targetLabels: readonly number[]): Promise<Trigger[]> {
  const { mask, pattern } = tf.tidy(() => toParts(raw, form));
  const masks = await mask?.data<'float32'>();
  const patterns = await pattern.data<'float32'>();
  tf.dispose([pattern, ...(mask ? [mask] : [])]);
  const { kind, height, width, channels } = form;
  return targetLabels.map((targetLabel, index) => {
    const part = (values: Float32Array, depth: number): Float32Array => {
      const size = height * width * depth;
      return Float32Array.from(values.subarray(index * size, (index + 1) * size));
    };
    const shape = { targetLabel, height, width, channels, pattern: part(patterns, patternDepth(form)) };
    return kind === 'blend' ? { ...shape, kind, mask: part(masks!, 1) } : { ...shape, kind };
  });
}
