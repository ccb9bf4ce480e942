/**
 * Convolutions [B,H,W,C] with a filter [kh,kw,C,O] of any size and stride, and both their gradients, as products of matrices (im2col: Chellapilla, Puri
 * and Simard, "High performance convolutional neural networks for document processing", 2006). Difference: the windows of a block of outputs alone are
 * copied out, so that they stay in the cache.
 * All pointers are bytes into the imported memory; O is a multiple of 8.
 */
import {
  aligned,
  batch,
  channels,
  filterHeight,
  filterWidth,
  height,
  images,
  left,
  LINE_BYTES,
  outHeight,
  outputs,
  outWidth,
  results,
  strideX,
  strideY,
  top,
  width,
} from './geometry';
import { addRow } from './pointwise';
import { multiply, multiplyTransposed } from './products';

/** Outputs at a time. */
const BLOCK: i32 = 48;

/** How many outputs there are, over all images. */
let positions: i32 = 0;
/** The numbers of a window, and of its row in the scratch, which zeros fill up. */
let numbers: i32 = 0;
let wide: i32 = 0;
/** Scratch: the windows of a block, their products, and a filter in panels or the sums of its gradient. */
let windows: usize = 0;
let products: usize = 0;
let panels: usize = 0;

/** The floats of scratch that the convolution needs. */
export function windowScratchFloats(): i32 {
  const rowFloats = roundUp(filterHeight * filterWidth * channels);
  return BLOCK * (rowFloats + outputs) + rowFloats * outputs + 3 * <i32>LINE_BYTES;
}

/** Says where the scratch lies. */
export function prepareWindows(scratch: usize): void {
  positions = batch * outHeight * outWidth;
  numbers = filterHeight * filterWidth * channels;
  wide = roundUp(numbers);
  windows = aligned(scratch);
  products = aligned(windows + bytes(BLOCK * wide));
  panels = aligned(products + bytes(BLOCK * outputs));
  // Rows of windows are filled up with zeros, which nothing overwrites before they are read.
  memory.fill(windows, 0, bytes(BLOCK * wide));
}

/** Convolves the images with a filter [kh,kw,C,O], and adds a bias [O] unless it is 0. */
export function convolveWindows(filter: usize, bias: usize): void {
  packFilter(filter);
  for (let first = 0; first < positions; first += BLOCK) {
    const count = min(BLOCK, positions - first);
    moveWindows(first, count, false);
    const to = results + bytes(first * outputs);
    // The product takes rows by fours, and nothing may be written behind the last of the outputs.
    const sums = count & 3 ? products : to;
    multiply(windows, panels, sums, (count + 3) & ~3, wide, outputs);
    if (bias) addRow(sums, bias, to, count, outputs);
    else if (sums !== to) memory.copy(to, sums, bytes(count * outputs));
  }
}

/** The gradient [B,H,W,C] of the images, for a filter [kh,kw,C,O], the outputs being their gradient; where the images lie it is written. */
export function windowInputGradient(filter: usize): void {
  packTransposed(filter);
  memory.fill(images, 0, bytes((positions / (outHeight * outWidth)) * height * width * channels));
  for (let first = 0; first < positions; first += BLOCK) {
    const count = min(BLOCK, positions - first);
    let gradient = results + bytes(first * outputs);
    if (count & 3) {
      memory.copy(products, gradient, bytes(count * outputs));
      gradient = products;
    }
    multiply(gradient, panels, windows, (count + 3) & ~3, outputs, wide);
    moveWindows(first, count, true);
  }
}

/** The gradient [kh,kw,C,O] of the filter, the outputs being their gradient. */
export function windowFilterGradient(gradient: usize): void {
  memory.fill(panels, 0, bytes(wide * outputs));
  for (let first = 0; first < positions; first += BLOCK) {
    const count = min(BLOCK, positions - first);
    moveWindows(first, count, false);
    multiplyTransposed(windows, results + bytes(first * outputs), panels, count, wide, outputs);
  }
  memory.copy(gradient, panels, bytes(numbers * outputs));
}

function bytes(floats: i32): usize {
  return (<usize>floats) << 2;
}

function roundUp(count: i32): i32 {
  return (count + 7) & ~7;
}

/** A filter [kh,kw,C,O] to panels [O/8, wide, 8]. */
function packFilter(filter: usize): void {
  for (let o = 0; o < outputs; o += 8) {
    const panel = panels + bytes(o * wide);
    for (let number = 0; number < numbers; number++) {
      const from = filter + bytes(number * outputs + o);
      v128.store(panel + bytes(number * 8), v128.load(from));
      v128.store(panel + bytes(number * 8), v128.load(from, 16), 16);
    }
    memory.fill(panel + bytes(numbers * 8), 0, bytes((wide - numbers) * 8));
  }
}

/** The transposed filter [O,kh,kw,C] to panels [wide/8, O, 8]. */
function packTransposed(filter: usize): void {
  memory.fill(panels, 0, bytes(wide * outputs));
  for (let number = 0; number < numbers; number++) {
    const panel = panels + bytes((number >> 3) * outputs * 8 + (number & 7));
    for (let o = 0; o < outputs; o++) {
      store<f32>(panel + bytes(o * 8), load<f32>(filter + bytes(number * outputs + o)));
    }
  }
}

/** Copies the windows of `count` outputs from the one numbered `first` on to the rows of the scratch, or adds the rows to them (col2im). */
function moveWindows(first: i32, count: i32, adds: bool): void {
  let column = first % outWidth;
  let row = first / outWidth;
  for (let index = 0; index < count; index++) {
    moveWindow(row, column, windows + bytes(index * wide), adds);
    if (++column === outWidth) {
      column = 0;
      row++;
    }
  }
}

/** The window of the output in `column` of `row`, counted over all images; of what lies beside the image a copy has zeros, and nothing is added to it. */
function moveWindow(row: i32, column: i32, window: usize, adds: bool): void {
  const y = (row % outHeight) * strideY - top;
  const x = column * strideX - left;
  const image = images + bytes((row / outHeight) * height * width * channels);
  const line = filterWidth * channels;
  const start = max(0, -x) * channels;
  const count = min(filterWidth, width - x) * channels - start;
  const isWhole = y >= 0 && y + filterHeight <= height && count === line;
  if (!adds && !isWhole) memory.fill(window, 0, bytes(numbers));
  const last = min(filterHeight, height - y);
  for (let tap = max(0, -y); tap < last; tap++) {
    const pixels = image + bytes(((y + tap) * width + x) * channels + start);
    const part = window + bytes(tap * line + start);
    if (adds) addFloats(part, pixels, count);
    else copyFloats(pixels, part, count);
  }
}

function copyFloats(from: usize, to: usize, count: i32): void {
  const end = from + bytes(count);
  for (; from + 16 <= end; from += 16, to += 16) v128.store(to, v128.load(from));
  for (; from < end; from += 4, to += 4) store<f32>(to, load<f32>(from));
}

function addFloats(from: usize, to: usize, count: i32): void {
  const end = from + bytes(count);
  for (; from + 16 <= end; from += 16, to += 16) v128.store(to, f32x4.add(v128.load(to), v128.load(from)));
  for (; from < end; from += 4, to += 4) store<f32>(to, load<f32>(to) + load<f32>(from));
}
