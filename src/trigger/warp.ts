/** Warps: images bent along a flow, as tensors and as 8-bit pixels. */
import {
  abs,
  add,
  matMul,
  maximum,
  minimum,
  mul,
  ones,
  pad4d,
  relu,
  reshape,
  slice4d,
  split,
  sub,
  tensor4d,
  transpose,
  type Rank,
  type Tensor2D,
  type Tensor4D,
} from '@tensorflow/tfjs-core';

/** Where each output pixel is read, relative to itself: [H,W,2] in pixels, down and right. */
export type Flow = Float32Array;
export type Size = { height: number; width: number };

/**
 * Reads the n-th group of images [N*B,H,W,C] where the n-th of flows [N,H,W,2] points, bilinearly; places outside are moved to the border. No flow may point
 * further than `reach` whole pixels along an axis. Differentiable in the flows: each pixel is a sum of its neighbours, weighted by how near the flow points to them.
 */
export function warpImages(images: Tensor4D, flows: Tensor4D, reach: number): Tensor4D {
  const [count, height, width] = flows.shape;
  const [all, , , channels] = images.shape;
  const each = all / count;
  const [places, values] = [count * height * width, each * channels];
  const [down, right] = split(withinImage(flows), 2, 3) as [Tensor4D, Tensor4D];
  // All values of a place side by side: sums over them are products of matrices, which are far faster than broadcasting.
  const byPlace = transpose(reshape(images, [count, each, height, width, channels]), [0, 2, 3, 1, 4]);
  const beyond: [number, number] = [reach, reach];
  const padded = pad4d(reshape(byPlace, [count, height, width, values]), [[0, 0], beyond, beyond, [0, 0]]);
  const nearness = (along: Tensor4D, pixels: number): Tensor4D => relu(sub(1, abs(sub(along, pixels))));
  const everyValue = ones<Rank.R2>([1, values]);
  let warped: Tensor2D | undefined;
  for (let y = -reach; y <= reach; y++) {
    for (let x = -reach; x <= reach; x++) {
      const neighbours = slice4d(padded, [0, reach + y, reach + x, 0], [count, height, width, values]);
      const share = reshape<Rank.R2>(mul(nearness(down, y), nearness(right, x)), [places, 1]);
      const part = mul<Tensor2D>(matMul(share, everyValue), reshape(neighbours, [places, values]));
      warped = warped ? add(warped, part) : part;
    }
  }
  const grouped = reshape(warped!, [count, height, width, each, channels]);
  return reshape(transpose(grouped, [0, 3, 1, 2, 4]), images.shape);
}

/** Flows [N,H,W,2] that point to no place outside the image. */
function withinImage(flows: Tensor4D): Tensor4D {
  const [, height, width] = flows.shape;
  const limits = (limit: (place: number, last: number) => number): Tensor4D => {
    const values = Float32Array.from({ length: height * width * 2 }, (_, index) => {
      const place = Math.floor(index / 2);
      return index % 2 ? limit(place % width, width - 1) : limit(Math.floor(place / width), height - 1);
    });
    return tensor4d(values, [1, height, width, 2]);
  };
  const least = limits((place) => -place);
  const most = limits((place, last) => last - place);
  return maximum(minimum(flows, most), least);
}

/** Reads every pixel of an image [H,W,C] in 0..255 where the flow points, bilinearly; places outside are moved to the border. */
export function warpImage(image: Uint8Array, { height, width }: Size, flow: Flow): Uint8Array {
  const channels = image.length / (height * width);
  const warped = new Uint8Array(image.length);
  for (let position = 0; position < height * width; position++) {
    const y = within(Math.floor(position / width) + flow[2 * position]!, height - 1);
    const x = within((position % width) + flow[2 * position + 1]!, width - 1);
    const [top, left] = [Math.floor(y), Math.floor(x)];
    const [bottom, right] = [Math.min(top + 1, height - 1), Math.min(left + 1, width - 1)];
    for (let channel = 0; channel < channels; channel++) {
      const at = (row: number, column: number): number => image[(row * width + column) * channels + channel]!;
      const upper = at(top, left) + (x - left) * (at(top, right) - at(top, left));
      const lower = at(bottom, left) + (x - left) * (at(bottom, right) - at(bottom, left));
      warped[position * channels + channel] = Math.round(upper + (y - top) * (lower - upper));
    }
  }
  return warped;
}

/** Warps each of 8-bit images [N,H,W,C] alike. */
export function warpPixels(pixels: Uint8Array, size: Size & { channels: number }, flow: Flow): Uint8Array {
  const length = size.height * size.width * size.channels;
  const warped = new Uint8Array(pixels.length);
  for (let start = 0; start < pixels.length; start += length) {
    warped.set(warpImage(pixels.subarray(start, start + length), size, flow), start);
  }
  return warped;
}

/** The place nearest to `value` along an axis that ends at `last`. */
export const within = (value: number, last: number): number => Math.min(last, Math.max(0, value));
