/** What is done number by number, four side by side; pointers are bytes into the imported memory. */
import {
  leastElu,
  log2e,
  minusLn2,
  minusLn2Rest,
  one,
  power1,
  power2,
  power3,
  power4,
  power5,
  rounding,
} from './constants';

/** ELU: x where x > 0, else exp(x) - 1. */
export function elu(from: usize, to: usize, count: i32): void {
  const end = from + ((<usize>count) << 2);
  for (; from + 16 <= end; from += 16, to += 16) v128.store(to, eluOf(v128.load(from)));
  for (; from < end; from += 4, to += 4) v128.store_lane<f32>(to, eluOf(v128.load32_zero(from)), 0);
}

/** ELU's gradient from its outputs y and their gradient dy: dy where y > 0, else dy (y + 1). */
export function eluGradient(dy: usize, y: usize, to: usize, count: i32): void {
  const end = y + ((<usize>count) << 2);
  for (; y + 16 <= end; y += 16, dy += 16, to += 16) v128.store(to, eluGradientOf(v128.load(dy), v128.load(y)));
  for (; y < end; y += 4, dy += 4, to += 4) {
    v128.store_lane<f32>(to, eluGradientOf(v128.load32_zero(dy), v128.load32_zero(y)), 0);
  }
}

/** Adds a row [C] to each of `rows` rows [rows,C]. */
export function addRow(from: usize, row: usize, to: usize, rows: i32, channels: i32): void {
  const line = (<usize>channels) << 2;
  for (; rows > 0; rows--, from += line, to += line) {
    let offset: usize = 0;
    for (; offset + 16 <= line; offset += 16) {
      v128.store(to + offset, f32x4.add(v128.load(from + offset), v128.load(row + offset)));
    }
    for (; offset < line; offset += 4) store<f32>(to + offset, load<f32>(from + offset) + load<f32>(row + offset));
  }
}

/** Copies rows of `numbers` to rows of `wide`: what is too long is cut off, what is missing is 0. */
export function copyRows(from: usize, numbers: i32, to: usize, wide: i32, rows: i32): void {
  const line = (<usize>numbers) << 2;
  const outLine = (<usize>wide) << 2;
  const kept = min(line, outLine);
  for (; rows > 0; rows--, from += line, to += outLine) {
    for (let offset: usize = 0; offset < kept; offset += 4) store<f32>(to + offset, load<f32>(from + offset));
    for (let offset: usize = kept; offset < outLine; offset += 4) store<f32>(to + offset, 0);
  }
}

function eluGradientOf(dy: v128, y: v128): v128 {
  const falling = f32x4.relaxed_madd(dy, y, dy);
  return i32x4.relaxed_laneselect(dy, falling, f32x4.gt(y, f32x4.splat(0)));
}

/**
 * exp(x) - 1 = 2^n (exp(t) - 1) + 2^n - 1, with x = n ln 2 + t and a polynomial for exp(t) - 1, as XNNPACK has it (f32-velu, rr2-p6): within 2 units of
 * the last place.
 */
function eluOf(x: v128): v128 {
  const z = f32x4.relaxed_max(x, leastElu);
  const shifted = f32x4.relaxed_madd(z, log2e, rounding);
  const power = i32x4.shl(shifted, 23);
  const n = f32x4.sub(shifted, rounding);
  const t = f32x4.relaxed_madd(n, minusLn2Rest, f32x4.relaxed_madd(n, minusLn2, z));
  const high = f32x4.relaxed_madd(f32x4.relaxed_madd(t, power5, power4), t, power3);
  const p = f32x4.relaxed_madd(f32x4.relaxed_madd(high, t, power2), t, power1);
  const scaled = f32x4.mul(t, power);
  const rest = f32x4.relaxed_madd(f32x4.mul(p, t), scaled, scaled);
  const negative = f32x4.add(rest, f32x4.sub(power, one));
  return i32x4.relaxed_laneselect(negative, x, f32x4.lt(x, f32x4.splat(0)));
}
