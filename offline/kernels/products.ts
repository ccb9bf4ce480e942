/** The matrix products between the transforms: four rows by eight columns at a time, in registers. */

/** [rows,C] x [C,O], with the right matrix in panels [O/8,C,8]; `rows` is a multiple of 4. */
export function multiply(left: usize, right: usize, to: usize, rows: i32, channels: i32, outputs: i32): void {
  const line = (<usize>channels) << 2;
  const outLine = (<usize>outputs) << 2;
  for (let panel: usize = 0; panel < outLine; panel += 32) {
    for (let row = 0; row < rows; row += 4) {
      const out = to + <usize>row * outLine + panel;
      accumulate(left + <usize>row * line, line, 4, right, 32, channels, out, outLine, false);
    }
    right += line << 3;
  }
}

/** Adds [rows,C]' x [rows,O] to `sums` [C,O]. */
export function multiplyTransposed(
  left: usize,
  right: usize,
  sums: usize,
  rows: i32,
  channels: i32,
  outputs: i32,
): void {
  const line = (<usize>channels) << 2;
  const outLine = (<usize>outputs) << 2;
  for (let offset: usize = 0; offset < line; offset += 16) {
    const row = sums + (offset >> 2) * outLine;
    for (let panel: usize = 0; panel < outLine; panel += 32) {
      accumulate(left + offset, 4, line, right + panel, outLine, rows, row + panel, outLine, true);
    }
  }
}

/**
 * Four rows by eight columns: sums over `count` of left rows `line` bytes apart, `step` from one to the next number, times eight numbers of
 * the right, `rightStep` apart. They are added to what is there, or put in its place.
 */
function accumulate(
  left: usize,
  line: usize,
  step: usize,
  right: usize,
  rightStep: usize,
  count: i32,
  out: usize,
  outLine: usize,
  adds: bool,
): void {
  let s00 = f32x4.splat(0);
  let s01 = s00;
  let s10 = s00;
  let s11 = s00;
  let s20 = s00;
  let s21 = s00;
  let s30 = s00;
  let s31 = s00;
  if (adds) {
    s00 = v128.load(out);
    s01 = v128.load(out, 16);
    s10 = v128.load(out + outLine);
    s11 = v128.load(out + outLine, 16);
    s20 = v128.load(out + 2 * outLine);
    s21 = v128.load(out + 2 * outLine, 16);
    s30 = v128.load(out + 3 * outLine);
    s31 = v128.load(out + 3 * outLine, 16);
  }
  for (; count > 0; count--) {
    const r0 = v128.load(right);
    const r1 = v128.load(right, 16);
    const x0 = v128.load32_splat(left);
    s00 = f32x4.relaxed_madd(x0, r0, s00);
    s01 = f32x4.relaxed_madd(x0, r1, s01);
    const x1 = v128.load32_splat(left + line);
    s10 = f32x4.relaxed_madd(x1, r0, s10);
    s11 = f32x4.relaxed_madd(x1, r1, s11);
    const x2 = v128.load32_splat(left + 2 * line);
    s20 = f32x4.relaxed_madd(x2, r0, s20);
    s21 = f32x4.relaxed_madd(x2, r1, s21);
    const x3 = v128.load32_splat(left + 3 * line);
    s30 = f32x4.relaxed_madd(x3, r0, s30);
    s31 = f32x4.relaxed_madd(x3, r1, s31);
    left += step;
    right += rightStep;
  }
  v128.store(out, s00);
  v128.store(out, s01, 16);
  v128.store(out + outLine, s10);
  v128.store(out + outLine, s11, 16);
  v128.store(out + 2 * outLine, s20);
  v128.store(out + 2 * outLine, s21, 16);
  v128.store(out + 3 * outLine, s30);
  v128.store(out + 3 * outLine, s31, 16);
}
