import { weightShapes, type Network } from '../../src/network/network.ts';
import type { HostTensor } from '../../src/network/safetensors.ts';
import { randomSource } from '../engine/random.ts';

/** He-normal kernels (He et al., arXiv 1502.01852, eq. 10), zero biases, and batch norms that do not change a normalised input. */
export function initialWeights(network: Network, seed: number): Map<string, HostTensor> {
  const random = randomSource(seed, 'initial weights');
  const weights = new Map<string, HostTensor>();
  for (const [name, shape] of weightShapes(network)) {
    const size = shape.reduce((product, axis) => product * axis, 1);
    const fanIn = size / shape.at(-1)!;
    const scale = shape.length === 1 ? 0 : Math.sqrt(2 / fanIn);
    const data = /\/(gamma|variance)$/.test(name)
      ? new Float32Array(size).fill(1)
      : random.normal(size).map((value) => value * scale);
    weights.set(name, { dtype: 'F32', shape, data });
  }
  return weights;
}
