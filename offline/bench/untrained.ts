import { buildNetwork, type Architecture } from '../attack/networks.ts';
import { weightShapes } from '../../src/network/network.ts';
import type { HostTensor } from '../../src/network/safetensors.ts';
import { randomSource } from '../engine/random.ts';
import type { Model } from '../model.ts';

/** A model of this architecture for images [B,32,32,3] and ten labels, with random weights: kernels as He et al. 2015 draw them (uniform), batch norms that change little. */
export function untrainedModel(architecture: Architecture, seed: number): Model {
  const labelNames = Array.from({ length: 10 }, (_, label) => `${label}`);
  const network = buildNetwork(architecture, { height: 32, width: 32, channels: 3 }, labelNames);
  const random = randomSource(seed, 'bench/untrained');
  const weights = new Map(
    [...weightShapes(network)].map(([name, shape]): [string, HostTensor] => {
      const count = shape.reduce((total, size) => total * size, 1);
      const fanIn = shape.slice(0, -1).reduce((total, size) => total * size, 1);
      const [spread, centre] = name.endsWith('/kernel')
        ? [Math.sqrt(6 / fanIn), 0]
        : [0.1, /\/(gamma|variance)$/.test(name) ? 1 : 0];
      const data = random.uniform(count).map((value) => centre + spread * (2 * value - 1));
      return [name, { dtype: 'F32', shape, data }];
    }),
  );
  return { network, weights };
}
