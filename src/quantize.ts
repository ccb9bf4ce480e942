/** Vectors as 8-bit whole numbers and one scale each: a quarter of the memory, and at most half a step of error a value. */

/** `values` in -127..127; each stands for itself times `scale`. */
export type Quantized = { scale: number; values: Int8Array };

const LARGEST = 127;

/** The vector in 8 bits; its largest value, whatever its sign, becomes 127. Every value has to be finite. */
export function quantize(vector: Float32Array): Quantized {
  const largest = vector.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const scale = largest / LARGEST;
  return { scale, values: Int8Array.from(vector, (value) => (scale === 0 ? 0 : Math.round(value / scale))) };
}

/** The vector that was quantized, each value at most half of `scale` away from what it was. */
export const dequantize = ({ scale, values }: Quantized): Float32Array =>
  Float32Array.from(values, (value) => value * scale);
