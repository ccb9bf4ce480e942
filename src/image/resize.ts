/**
 * Resizing as Pillow does it with its BILINEAR filter (Resample.c, 8 bits), to the same bytes: a triangle filter over each axis, stretched
 * when shrinking so that every source pixel counts (no aliasing). The sides are scaled apart; nothing is cropped.
 */
import type { Image } from '../image.ts';

/** Weights are fixed-point numbers with this many bits behind the point: 255 times a sum of 1 stays below 2^31. */
const PRECISION_BITS = 22;
const HALF = 1 << (PRECISION_BITS - 1);

/** For each output position where its source pixels begin, how many they are, and their weights, `size` a position. */
type Taps = { starts: Int32Array; counts: Int32Array; weights: Int32Array; size: number };

/** Resizes to `height` x `width`; an image of that size is answered as it is. */
export function resizeImage(image: Image, height: number, width: number): Image {
  const narrowed = image.width === width ? image : alongRows(image, width);
  return narrowed.height === height ? narrowed : alongColumns(narrowed, height);
}

function tapsOf(inputSize: number, outputSize: number): Taps {
  const scale = inputSize / outputSize;
  const support = Math.max(scale, 1);
  const size = Math.ceil(support) * 2 + 1;
  const starts = new Int32Array(outputSize);
  const counts = new Int32Array(outputSize);
  const weights = new Int32Array(outputSize * size);
  for (let position = 0; position < outputSize; position++) {
    const center = (position + 0.5) * scale;
    const start = Math.max(Math.trunc(center - support + 0.5), 0);
    const count = Math.min(Math.trunc(center + support + 0.5), inputSize) - start;
    const triangle = Array.from({ length: count }, (_, tap) =>
      Math.max(0, 1 - Math.abs((start + tap - center + 0.5) * (1 / support))),
    );
    const total = triangle.reduce((sum, weight) => sum + weight, 0);
    starts[position] = start;
    counts[position] = count;
    triangle.forEach((weight, tap) => {
      weights[position * size + tap] = Math.trunc(0.5 + (weight / total) * (1 << PRECISION_BITS));
    });
  }
  return { starts, counts, weights, size };
}

function alongRows(image: Image, width: number): Image {
  const { height, channels, data } = image;
  const { starts, counts, weights, size } = tapsOf(image.width, width);
  const output = new Uint8Array(height * width * channels);
  let next = 0;
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const first = (row * image.width + starts[column]!) * channels;
      for (let channel = 0; channel < channels; channel++) {
        let sum = HALF;
        for (let tap = 0; tap < counts[column]!; tap++) {
          sum += data[first + tap * channels + channel]! * weights[column * size + tap]!;
        }
        output[next++] = sum >> PRECISION_BITS;
      }
    }
  }
  return { height, width, channels, data: output };
}

function alongColumns(image: Image, height: number): Image {
  const { width, channels, data } = image;
  const { starts, counts, weights, size } = tapsOf(image.height, height);
  const lineSize = width * channels;
  const output = new Uint8Array(height * lineSize);
  const sums = new Int32Array(lineSize);
  for (let row = 0; row < height; row++) {
    sums.fill(HALF);
    for (let tap = 0; tap < counts[row]!; tap++) {
      const weight = weights[row * size + tap]!;
      const line = (starts[row]! + tap) * lineSize;
      for (let index = 0; index < lineSize; index++) sums[index]! += data[line + index]! * weight;
    }
    for (let index = 0; index < lineSize; index++) output[row * lineSize + index] = sums[index]! >> PRECISION_BITS;
  }
  return { height, width, channels, data: output };
}
