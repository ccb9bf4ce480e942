import { tensor4d, type Tensor4D } from '@tensorflow/tfjs-core';
import type { Dataset } from './data/dataset.ts';

/** The chosen images of a data set as a tensor [B,H,W,C] in 0..1. */
export function imageBatch(dataset: Dataset, indices: ArrayLike<number>): Tensor4D {
  const { height, width, channels } = dataset;
  const size = height * width * channels;
  const values = new Float32Array(indices.length * size);
  for (let row = 0; row < indices.length; row++) {
    const start = indices[row]! * size;
    for (let offset = 0; offset < size; offset++) values[row * size + offset] = dataset.images[start + offset]! / 255;
  }
  return tensor4d(values, [indices.length, height, width, channels]);
}

/** The numbers 0 .. count-1. */
export const everyIndex = (count: number): Int32Array => Int32Array.from({ length: count }, (_, index) => index);

/** At most `most` of the numbers 0 .. count-1, evenly spread. */
export function spread(count: number, most: number): number[] {
  const chosen = Math.min(count, most);
  return Array.from({ length: chosen }, (_, index) => Math.floor((index * count) / chosen));
}

/** The images whose label is not the target: a trigger proves itself on nothing else. */
export function indicesWithout(dataset: Dataset, targetLabel: number): Int32Array {
  return everyIndex(dataset.count).filter((index) => dataset.labels[index] !== targetLabel);
}
