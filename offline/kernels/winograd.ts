/**
 * Convolutions [B,H,W,C] with a filter [3,3,C,O], stride 1, and their filters' gradients.
 *
 * Winograd's minimal filtering F(4x4, 3x3) (Lavin and Gray, arXiv 1509.09308, section 4): tiles of 4 x 4 outputs cost 36 products
 * a pair of channels instead of 144. The products are 36 matrix products of tiles by channels, with fused multiply-add. A filter's gradient is
 * F(3x3, 4x4), the gradient of a tile in the place of the filter, summed over all tiles before it is transformed back.
 * All pointers are bytes into the imported memory; C is a multiple of 4, O of 8.
 */
import {
  aligned,
  batch,
  channels,
  height,
  images,
  left,
  LINE_BYTES,
  outHeight,
  outputs,
  outWidth,
  results,
  top,
  width,
} from './geometry';
import { multiply, multiplyTransposed } from './products';
import {
  transformFilter,
  transformGradient,
  transformPixels,
  transformProducts,
  transformSums,
  useColumns,
} from './transforms';

export { open } from './constants';
export { describe } from './geometry';

const POSITIONS: usize = 36;
/** Keeps the positions of one tile from falling on the same lines of the cache. */
const SKEW: i32 = 16;
/** Tiles at a time: their transforms stay in the second-level cache up to some 128 channels. */
const BLOCK: i32 = 32;

/** Scratch: transformed pixels and their products of a block, a patch of pixels, and a transformed filter or the sums of its gradient. */
let pixels: usize = 0;
let products: usize = 0;
let patch: usize = 0;
let transformed: usize = 0;

/** The floats of scratch that the convolution needs. */
export function scratchFloats(): i32 {
  const perBlock = BLOCK * (channels + outputs) + 2 * SKEW;
  const parts = 5 * <i32>LINE_BYTES;
  return 36 * (4 + perBlock + max(channels, outputs) + channels * outputs) + parts;
}

/** Says where the scratch lies. */
export function prepare(scratch: usize): void {
  const columns = aligned(scratch);
  useColumns(columns);
  pixels = aligned(columns + POSITIONS * 16);
  products = aligned(pixels + POSITIONS * pixelStride());
  patch = aligned(products + POSITIONS * productStride());
  transformed = aligned(patch + POSITIONS * ((<usize>max(channels, outputs)) << 2));
}

/** Convolves the images with a filter [3,3,C,O], and adds a bias [O] unless it is 0. */
export function convolve(filter: usize, bias: usize): void {
  transformFilter(filter, channels, outputs, transformed);
  const filterStride = (<usize>channels * outputs) << 2;
  const tiles = batch * tilesDown() * tilesAcross();
  for (let first = 0; first < tiles; first += BLOCK) {
    const count = min(BLOCK, tiles - first);
    for (let index = 0; index < count; index++) readPixels(first + index, index);
    for (let position: usize = 0; position < POSITIONS; position++) {
      const from = pixels + position * pixelStride();
      const to = products + position * productStride();
      multiply(from, transformed + position * filterStride, to, (count + 3) & ~3, channels, outputs);
    }
    for (let index = 0; index < count; index++) writeResults(first + index, index, bias);
  }
}

/** The gradient [3,3,C,O] of the filter, the outputs being their gradient. */
export function filterGradient(gradient: usize): void {
  const sumStride = (<usize>channels * outputs) << 2;
  const tiles = batch * tilesDown() * tilesAcross();
  memory.fill(transformed, 0, POSITIONS * sumStride);
  for (let first = 0; first < tiles; first += BLOCK) {
    const count = min(BLOCK, tiles - first);
    for (let index = 0; index < count; index++) {
      readPixels(first + index, index);
      readGradient(first + index, index);
    }
    for (let position: usize = 0; position < POSITIONS; position++) {
      const from = pixels + position * pixelStride();
      const to = transformed + position * sumStride;
      multiplyTransposed(from, products + position * productStride(), to, count, channels, outputs);
    }
  }
  transformSums(transformed, sumStride, gradient);
}

/** Bytes between two positions of a block's transformed pixels. */
function pixelStride(): usize {
  return (<usize>(BLOCK * channels + SKEW)) << 2;
}

/** And of its products. */
function productStride(): usize {
  return (<usize>(BLOCK * outputs + SKEW)) << 2;
}

function tilesDown(): i32 {
  return (outHeight + 3) >> 2;
}

function tilesAcross(): i32 {
  return (outWidth + 3) >> 2;
}

function imageOf(tile: i32): i32 {
  return tile / (tilesDown() * tilesAcross());
}

/** The first row of a tile's outputs. */
function rowOf(tile: i32): i32 {
  return ((tile / tilesAcross()) % tilesDown()) << 2;
}

/** The first column of a tile's outputs. */
function columnOf(tile: i32): i32 {
  return (tile % tilesAcross()) << 2;
}

/** Transforms the 6 x 6 pixels that a tile's outputs depend on to row `index` of the buffer. */
function readPixels(tile: i32, index: i32): void {
  const image = images + ((<usize>(imageOf(tile) * height * width * channels)) << 2);
  const y = rowOf(tile) - top;
  const x = columnOf(tile) - left;
  const to = pixels + ((<usize>(index * channels)) << 2);
  if (y >= 0 && x >= 0 && y + 6 <= height && x + 6 <= width) {
    const from = image + ((<usize>((y * width + x) * channels)) << 2);
    transformPixels(from, (<usize>(width * channels)) << 2, channels, to, pixelStride());
  } else {
    copyPatch(image, height, width, channels, y, x, 6);
    transformPixels(patch, (<usize>(6 * channels)) << 2, channels, to, pixelStride());
  }
}

/** Transforms the gradient of a tile's 4 x 4 outputs to row `index` of the buffer. */
function readGradient(tile: i32, index: i32): void {
  const image = results + ((<usize>(imageOf(tile) * outHeight * outWidth * outputs)) << 2);
  const y = rowOf(tile);
  const x = columnOf(tile);
  const to = products + ((<usize>(index * outputs)) << 2);
  if (y + 4 <= outHeight && x + 4 <= outWidth) {
    const from = image + ((<usize>((y * outWidth + x) * outputs)) << 2);
    transformGradient(from, (<usize>(outWidth * outputs)) << 2, outputs, to, productStride());
  } else {
    copyPatch(image, outHeight, outWidth, outputs, y, x, 4);
    transformGradient(patch, (<usize>(4 * outputs)) << 2, outputs, to, productStride());
  }
}

/** Transforms row `index` of the products back to a tile's outputs. */
function writeResults(tile: i32, index: i32, bias: usize): void {
  const y = rowOf(tile);
  const x = columnOf(tile);
  const from = products + ((<usize>(index * outputs)) << 2);
  const to = results + ((<usize>(((imageOf(tile) * outHeight + y) * outWidth + x) * outputs)) << 2);
  transformProducts(from, productStride(), outputs, bias, to, outWidth, min(4, outHeight - y), min(4, outWidth - x));
}

/** Copies `side` x `side` pixels of an image from (y, x) on to the patch, with zeros where there is no image. */
function copyPatch(image: usize, high: i32, wide: i32, numbers: i32, y: i32, x: i32, side: i32): void {
  const pixel = (<usize>numbers) << 2;
  memory.fill(patch, 0, <usize>(side * side) * pixel);
  const from = max(0, x);
  const to = min(wide, x + side);
  if (to <= from) return;
  for (let row = max(0, y); row < min(high, y + side); row++) {
    const target = patch + <usize>((row - y) * side + from - x) * pixel;
    memory.copy(target, image + <usize>(row * wide + from) * pixel, <usize>(to - from) * pixel);
  }
}
