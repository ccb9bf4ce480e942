/**
 * Convolutions [B,H,W,C] with a filter [3,3,C,O], stride 1, and their filters' gradients, in AssemblyScript: `npm run kernels` compiles this to
 * offline/engine/winograd.wasm.
 *
 * Winograd's minimal filtering F(4x4, 3x3) (Lavin and Gray, arXiv 1509.09308, section 4): tiles of 4 x 4 outputs cost 36 products
 * a pair of channels instead of 144. The products are 36 matrix products of tiles by channels, with fused multiply-add. A filter's gradient is
 * F(3x3, 4x4), the gradient of a tile in the place of the filter, summed over all tiles before it is transformed back.
 * All pointers are bytes into this module's memory; C is a multiple of 4, O of 8.
 */
import { multiply, multiplyTransposed } from './products';
import { transformGradient, transformPixels, transformProducts, transformSums } from './transforms';

export { transformFilter } from './transforms';

const POSITIONS: usize = 36;
/** Keeps the positions of one tile from falling on the same lines of the cache. */
const SKEW: i32 = 16;

/** The convolution that was prepared last. */
let images: usize = 0;
let batch: i32 = 0;
let height: i32 = 0;
let width: i32 = 0;
let channels: i32 = 0;
let top: i32 = 0;
let left: i32 = 0;
let results: usize = 0;
let outHeight: i32 = 0;
let outWidth: i32 = 0;
let outputs: i32 = 0;
let pixels: usize = 0;
let products: usize = 0;
let patch: usize = 0;
let block: i32 = 0;

/** Floats between two positions of `tiles` rows of `channels` numbers. */
export function positionStride(tiles: i32, channels: i32): i32 {
  return tiles * channels + SKEW;
}

/**
 * Says what the next call convolves: images [B,H,W,C] with `top` and `left` rows and columns of zeros before each, and their outputs
 * [B,OH,OW,O]. `block` tiles, a multiple of 4, are in the buffers at a time: `pixels` of 36 * positionStride(block, C) floats and `products` of
 * 36 * positionStride(block, O); `patch` has 36 * max(C, O).
 */
export function prepare(
  ofImages: usize,
  ofBatch: i32,
  ofHeight: i32,
  ofWidth: i32,
  ofChannels: i32,
  ofTop: i32,
  ofLeft: i32,
  ofResults: usize,
  ofOutHeight: i32,
  ofOutWidth: i32,
  ofOutputs: i32,
  ofPixels: usize,
  ofProducts: usize,
  ofPatch: usize,
  ofBlock: i32,
): void {
  images = ofImages;
  batch = ofBatch;
  height = ofHeight;
  width = ofWidth;
  channels = ofChannels;
  top = ofTop;
  left = ofLeft;
  results = ofResults;
  outHeight = ofOutHeight;
  outWidth = ofOutWidth;
  outputs = ofOutputs;
  pixels = ofPixels;
  products = ofProducts;
  patch = ofPatch;
  block = ofBlock;
}

/** Convolves the images with a transformed filter, and adds a bias [O] unless it is 0. */
export function convolve(filter: usize, bias: usize): void {
  const filterStride = (<usize>channels * outputs) << 2;
  const tiles = batch * tilesDown() * tilesAcross();
  for (let first = 0; first < tiles; first += block) {
    const count = min(block, tiles - first);
    for (let index = 0; index < count; index++) readPixels(first + index, index);
    for (let position: usize = 0; position < POSITIONS; position++) {
      const from = pixels + position * pixelStride();
      const to = products + position * productStride();
      multiply(from, filter + position * filterStride, to, (count + 3) & ~3, channels, outputs);
    }
    for (let index = 0; index < count; index++) writeResults(first + index, index, bias);
  }
}

/** The gradient [3,3,C,O] of the filter, the outputs being their gradient; `sums` has 36 * C * O floats. */
export function filterGradient(sums: usize, gradient: usize): void {
  const sumStride = (<usize>channels * outputs) << 2;
  const tiles = batch * tilesDown() * tilesAcross();
  memory.fill(sums, 0, POSITIONS * sumStride);
  for (let first = 0; first < tiles; first += block) {
    const count = min(block, tiles - first);
    for (let index = 0; index < count; index++) {
      readPixels(first + index, index);
      readGradient(first + index, index);
    }
    for (let position: usize = 0; position < POSITIONS; position++) {
      const from = pixels + position * pixelStride();
      const to = sums + position * sumStride;
      multiplyTransposed(from, products + position * productStride(), to, count, channels, outputs);
    }
  }
  transformSums(sums, sumStride, gradient);
}

function pixelStride(): usize {
  return (<usize>positionStride(block, channels)) << 2;
}

function productStride(): usize {
  return (<usize>positionStride(block, outputs)) << 2;
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
