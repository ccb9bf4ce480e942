/** Real images for imported models, and what their files are fed with. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { tensor, tidy } from '@tensorflow/tfjs-core';
import type { Input } from '../../src/network/input.ts';
import { forward, toDevice } from '../../src/network/forward.ts';
import { IMAGES } from '../../src/network/network.ts';
import { decodeSafetensors } from '../../src/network/safetensors.ts';
import type { Model } from '../../offline/model.ts';

/** `images [B,H,W,C] in 0..1`, or what a file makes of them. */
export type Images = { shape: [number, number, number, number]; data: Float32Array };

const root = path.resolve(import.meta.dirname, '../..');

/** The first of 16 real images, 28 x 28 grey (from the example) or 32 x 32 in colour (test/models). */
export function realImages(channels: 1 | 3, count = 16): Images {
  const file = channels === 1 ? 'offline/example/test-2000.safetensors' : 'test/models/images-32.safetensors';
  const decoded = decodeSafetensors(readFileSync(path.join(root, file)));
  if (!decoded.ok) throw new Error(decoded.error);
  const { shape, data } = decoded.value.tensors.get('images')!;
  const [, height = 0, width = 0] = shape;
  const values = data.subarray(0, count * height * width * channels);
  return { shape: [count, height, width, channels], data: Float32Array.from(values, (value) => value / 255) };
}

/** `(scale * images - mean) / std`, with the channels in the file's order; the axes stay as they are. */
export function asFileWants({ shape, data }: Images, { channels, scale, mean, std }: Omit<Input, 'layout'>): Images {
  const count = shape[3];
  const values = data.map((_, index) => {
    const channel = index % count;
    const from = channels === 'bgr' ? index - channel + (count - 1 - channel) : index;
    return (scale * data[from]! - mean[channel]!) / std[channel]!;
  });
  return { shape, data: values };
}

/** The logits of a network on the active backend, image after image. */
export function logitsOf({ network, weights }: Model, { shape, data }: Images): Float32Array {
  return tidy(() => {
    const device = toDevice(weights);
    const [logits] = forward(network, device, new Map([[IMAGES, tensor(data, shape)]]), [network.output]);
    return logits!.dataSync() as Float32Array;
  });
}

/** The logarithm of the softmax over each `labels` values: what is left of logits when only their softmax is known. */
export function logSoftmax(logits: Float32Array, labels: number): Float32Array {
  const result = new Float32Array(logits.length);
  for (let start = 0; start < logits.length; start += labels) {
    const row = logits.subarray(start, start + labels);
    const largest = Math.max(...row);
    const total = row.reduce((sum, value) => sum + Math.exp(value - largest), 0);
    row.forEach((value, label) => (result[start + label] = value - largest - Math.log(total)));
  }
  return result;
}

/** The largest absolute difference; NaN counts as infinite, and so do different lengths. */
export function largestDifference(values: Float32Array, expected: Float32Array): number {
  if (values.length !== expected.length) return Infinity;
  return values.reduce((largest, value, index) => {
    const difference = Math.abs(value - expected[index]!);
    return Number.isNaN(difference) ? Infinity : Math.max(largest, difference);
  }, 0);
}
