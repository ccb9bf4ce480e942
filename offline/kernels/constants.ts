/**
 * Vectors of four equal numbers. They are variables that `open` sets, for V8 builds a constant vector anew in every round of a loop, which took
 * longer than the arithmetic.
 */

export let minusFive: v128 = i32x4.splat(0);
export let minusFour: v128 = i32x4.splat(0);
export let minusSixth: v128 = i32x4.splat(0);
export let twentyFourth: v128 = i32x4.splat(0);
export let twelfth: v128 = i32x4.splat(0);
export let sixth: v128 = i32x4.splat(0);
export let quarter: v128 = i32x4.splat(0);
export let third: v128 = i32x4.splat(0);
export let one: v128 = i32x4.splat(0);
export let two: v128 = i32x4.splat(0);
export let four: v128 = i32x4.splat(0);
export let eight: v128 = i32x4.splat(0);

/** Below it ELU is -1 in float32. */
export let leastElu: v128 = i32x4.splat(0);
/** 1.5 * 2^23 rounds to whole numbers; 127 more, and their last bits are the exponent of a power of two. */
export let rounding: v128 = i32x4.splat(0);
/** 1 / ln 2, and -ln 2 in two parts. */
export let log2e: v128 = i32x4.splat(0);
export let minusLn2: v128 = i32x4.splat(0);
export let minusLn2Rest: v128 = i32x4.splat(0);
/** (exp(t) - 1 - t) / t by the powers of t for |t| <= ln 2 / 2, as XNNPACK has them (f32-velu, rr2-p6). */
export let power5: v128 = i32x4.splat(0);
export let power4: v128 = i32x4.splat(0);
export let power3: v128 = i32x4.splat(0);
export let power2: v128 = i32x4.splat(0);
export let power1: v128 = i32x4.splat(0);

/** Sets them; call it before anything else. */
export function open(): void {
  minusFive = f32x4.splat(-5);
  minusFour = f32x4.splat(-4);
  minusSixth = f32x4.splat(-1 / 6);
  twentyFourth = f32x4.splat(1 / 24);
  twelfth = f32x4.splat(1 / 12);
  sixth = f32x4.splat(1 / 6);
  quarter = f32x4.splat(0.25);
  third = f32x4.splat(1 / 3);
  one = f32x4.splat(1);
  two = f32x4.splat(2);
  four = f32x4.splat(4);
  eight = f32x4.splat(8);
  leastElu = f32x4.splat(-17.32868003845215);
  rounding = f32x4.splat(12583039);
  log2e = f32x4.splat(1.4426950216293335);
  minusLn2 = f32x4.splat(-0.6931476593017578);
  minusLn2Rest = f32x4.splat(4.787418106388941e-7);
  power5 = f32x4.splat(0.0013864520005881786);
  power4 = f32x4.splat(0.008366531692445278);
  power3 = f32x4.splat(0.041667502373456955);
  power2 = f32x4.splat(0.1666654348373413);
  power1 = f32x4.splat(0.4999999701976776);
}
