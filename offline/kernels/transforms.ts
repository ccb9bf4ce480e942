/** The transforms of F(4x4, 3x3) and F(3x3, 4x4), which meet in the same six points 0, 1, -1, 2, -2 and infinity; four channels side by side. */
import {
  eight,
  four,
  minusFive,
  minusFour,
  minusSixth,
  quarter,
  sixth,
  third,
  twelfth,
  twentyFourth,
  two,
} from './constants';

/** Scratch for the columns of a tile before its rows are transformed: at most 36 times four numbers. */
let columns: usize = 0;
/** The distance of two numbers in a column of it. */
const COLUMN: usize = 96;

/** Gives the transforms 36 * 4 floats to work in; without any of its own the module can live in the memory of another. */
export function useColumns(scratch: usize): void {
  columns = scratch;
}

/** B' d B for 6 x 6 pixels of all channels, `line` bytes between their rows; the 36 results lie `stride` bytes apart. */
export function transformPixels(from: usize, line: usize, channels: i32, to: usize, stride: usize): void {
  const pixel = (<usize>channels) << 2;
  for (let offset: usize = 0; offset < pixel; offset += 16) {
    for (let column: usize = 0; column < 6; column++) {
      const d = from + offset + column * pixel;
      const to = columns + (column << 4);
      toPoints(
        at(d, line, 0),
        at(d, line, 1),
        at(d, line, 2),
        at(d, line, 3),
        at(d, line, 4),
        at(d, line, 5),
        to,
        COLUMN,
      );
    }
    for (let row: usize = 0; row < 6; row++) {
      const d = columns + row * COLUMN;
      const out = to + offset + row * 6 * stride;
      toPoints(at(d, 16, 0), at(d, 16, 1), at(d, 16, 2), at(d, 16, 3), at(d, 16, 4), at(d, 16, 5), out, stride);
    }
  }
}

/** G g G' for a filter [3,3,C,O] to panels [36, O/8, C, 8]. */
export function transformFilter(filter: usize, channels: i32, outputs: i32, to: usize): void {
  const tap: usize = (<usize>channels * outputs) << 2;
  const none = f32x4.splat(0);
  for (let c = 0; c < channels; c++) {
    for (let o = 0; o < outputs; o += 4) {
      const from = filter + ((<usize>(c * outputs + o)) << 2);
      for (let column: usize = 0; column < 3; column++) {
        const g = from + column * tap;
        const g2 = at(g, 3 * tap, 2);
        tapsToPoints(at(g, 3 * tap, 0), at(g, 3 * tap, 1), g2, none, g2, columns + (column << 4), COLUMN);
      }
      const panel = to + ((<usize>((o >> 3) * channels * 8 + c * 8 + (o & 4))) << 2);
      for (let row: usize = 0; row < 6; row++) {
        const g = columns + row * COLUMN;
        const g2 = at(g, 16, 2);
        tapsToPoints(at(g, 16, 0), at(g, 16, 1), g2, none, g2, panel + row * 6 * tap, tap);
      }
    }
  }
}

/** G g G' for the gradient of 4 x 4 outputs, which takes the place of a filter; `line` bytes between its rows, the 36 results `stride` bytes apart. */
export function transformGradient(from: usize, line: usize, outputs: i32, to: usize, stride: usize): void {
  const pixel = (<usize>outputs) << 2;
  for (let offset: usize = 0; offset < pixel; offset += 16) {
    for (let column: usize = 0; column < 4; column++) {
      const g = from + offset + column * pixel;
      const g3 = at(g, line, 3);
      tapsToPoints(at(g, line, 0), at(g, line, 1), at(g, line, 2), g3, g3, columns + (column << 4), COLUMN);
    }
    for (let row: usize = 0; row < 6; row++) {
      const g = columns + row * COLUMN;
      const g3 = at(g, 16, 3);
      tapsToPoints(at(g, 16, 0), at(g, 16, 1), at(g, 16, 2), g3, g3, to + offset + row * 6 * stride, stride);
    }
  }
}

/** A' m A for the 36 products of a tile, `stride` bytes apart, plus bias; writes the `high` x `wide` outputs that there are. */
export function transformProducts(
  from: usize,
  stride: usize,
  outputs: i32,
  bias: usize,
  to: usize,
  outWidth: i32,
  high: i32,
  wide: i32,
): void {
  const pixel = (<usize>outputs) << 2;
  for (let offset: usize = 0; offset < pixel; offset += 16) {
    for (let column: usize = 0; column < 6; column++) {
      toOutputs(from + offset + column * stride, 6 * stride, columns + (column << 4), COLUMN);
    }
    const added = bias ? v128.load(bias + offset) : f32x4.splat(0);
    for (let row = 0; row < high; row++) {
      const m = columns + <usize>row * COLUMN;
      // In place: all six are read before the first is written.
      toOutputs(m, 16, m, 16);
      const line = to + offset + <usize>(row * outWidth) * pixel;
      for (let x = 0; x < wide; x++) {
        v128.store(line + <usize>x * pixel, f32x4.add(v128.load(m + ((<usize>x) << 4)), added));
      }
    }
  }
}

/** A' m A for the 36 sums [C,O] of a filter's gradient, `stride` bytes apart, to [3,3,C,O]. */
export function transformSums(sums: usize, stride: usize, to: usize): void {
  for (let offset: usize = 0; offset < stride; offset += 16) {
    for (let column: usize = 0; column < 6; column++) {
      toTaps(sums + offset + column * stride, 6 * stride, columns + (column << 4), COLUMN);
    }
    for (let row: usize = 0; row < 3; row++) {
      toTaps(columns + row * COLUMN, 16, to + offset + row * 3 * stride, stride);
    }
  }
}

function at(from: usize, stride: usize, index: usize): v128 {
  return v128.load(from + index * stride);
}

/** Rows of B': six pixels to six numbers. */
function toPoints(d0: v128, d1: v128, d2: v128, d3: v128, d4: v128, d5: v128, to: usize, stride: usize): void {
  const even = f32x4.relaxed_madd(d2, minusFour, d4);
  const odd = f32x4.relaxed_madd(d1, minusFour, d3);
  const far = f32x4.sub(d4, d2);
  const near = f32x4.mul(two, f32x4.sub(d3, d1));
  v128.store(to, f32x4.relaxed_madd(d0, four, f32x4.relaxed_madd(d2, minusFive, d4)));
  v128.store(to + stride, f32x4.add(even, odd));
  v128.store(to + 2 * stride, f32x4.sub(even, odd));
  v128.store(to + 3 * stride, f32x4.add(far, near));
  v128.store(to + 4 * stride, f32x4.sub(far, near));
  v128.store(to + 5 * stride, f32x4.relaxed_madd(d1, four, f32x4.relaxed_madd(d3, minusFive, d5)));
}

/** Rows of G: four taps to six numbers; of three taps the fourth is 0 and `last` the third. */
function tapsToPoints(g0: v128, g1: v128, g2: v128, g3: v128, last: v128, to: usize, stride: usize): void {
  const even = f32x4.mul(f32x4.add(g0, g2), minusSixth);
  const odd = f32x4.mul(f32x4.add(g1, g3), minusSixth);
  const near = f32x4.relaxed_madd(g2, sixth, f32x4.mul(g0, twentyFourth));
  const far = f32x4.relaxed_madd(g3, third, f32x4.mul(g1, twelfth));
  v128.store(to, f32x4.mul(g0, quarter));
  v128.store(to + stride, f32x4.add(even, odd));
  v128.store(to + 2 * stride, f32x4.sub(even, odd));
  v128.store(to + 3 * stride, f32x4.add(near, far));
  v128.store(to + 4 * stride, f32x4.sub(near, far));
  v128.store(to + 5 * stride, last);
}

/** Rows of A' for four outputs. */
function toOutputs(from: usize, distance: usize, to: usize, stride: usize): void {
  const m0 = at(from, distance, 0);
  const m1 = at(from, distance, 1);
  const m2 = at(from, distance, 2);
  const m3 = at(from, distance, 3);
  const m4 = at(from, distance, 4);
  const m5 = at(from, distance, 5);
  const near = f32x4.add(m1, m2);
  const nearOdd = f32x4.sub(m1, m2);
  const far = f32x4.add(m3, m4);
  const farOdd = f32x4.sub(m3, m4);
  v128.store(to, f32x4.add(m0, f32x4.add(near, far)));
  v128.store(to + stride, f32x4.relaxed_madd(farOdd, two, nearOdd));
  v128.store(to + 2 * stride, f32x4.relaxed_madd(far, four, near));
  v128.store(to + 3 * stride, f32x4.add(f32x4.relaxed_madd(farOdd, eight, nearOdd), m5));
}

/** Rows of A' for three taps. */
function toTaps(from: usize, distance: usize, to: usize, stride: usize): void {
  const m0 = at(from, distance, 0);
  const m1 = at(from, distance, 1);
  const m2 = at(from, distance, 2);
  const m3 = at(from, distance, 3);
  const m4 = at(from, distance, 4);
  const m5 = at(from, distance, 5);
  const near = f32x4.add(m1, m2);
  const far = f32x4.add(m3, m4);
  v128.store(to, f32x4.add(m0, f32x4.add(near, far)));
  v128.store(to + stride, f32x4.relaxed_madd(f32x4.sub(m3, m4), two, f32x4.sub(m1, m2)));
  v128.store(to + 2 * stride, f32x4.add(f32x4.relaxed_madd(far, four, near), m5));
}
