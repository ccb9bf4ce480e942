import type { Tensor } from '@tensorflow/tfjs-core';

/** Rows [N,...] on the host: `size` numbers each, of the given shape. */
export type Rows = { data: Float32Array; size: number; shape: number[] };

/** Reads a tensor [N,...] of at least one row to the host; the caller disposes it. */
export async function toRows(of: Tensor): Promise<Rows> {
  const [count, ...shape] = of.shape;
  return { data: Float32Array.from(await of.data()), size: of.size / count!, shape };
}
