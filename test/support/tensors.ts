import type { HostTensor } from '../../src/network/safetensors.ts';

/** A tensor of floats, its values row by row. */
export function floatTensor(shape: readonly number[], values: readonly number[]): HostTensor {
  return { dtype: 'F32', shape, data: Float32Array.from(values) };
}
