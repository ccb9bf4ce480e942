import { readFileSync } from 'node:fs';
import path from 'node:path';
import { tensor, tidy } from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { foldBatchNorm } from '../../src/network/fold.ts';
import { checkWeights, forward, toDevice } from '../../src/network/forward.ts';
import { IMAGES, parseNetwork, type Network } from '../../src/network/network.ts';
import { decodeSafetensors, type HostWeights } from '../../src/network/safetensors.ts';
import { useBackend } from './backends.ts';

/** A network and its weights, with what PyTorch 1.13 computed at every node as `activation/NODE` (golden/make_golden.py). */
function golden(name: string): { network: Network; tensors: HostWeights } {
  const file = path.join(import.meta.dirname, 'golden', name);
  const network = parseNetwork(JSON.parse(readFileSync(`${file}.json`, 'utf8')));
  if (!network.ok) throw new Error(network.error);
  const decoded = decodeSafetensors(readFileSync(`${file}.safetensors`));
  if (!decoded.ok) throw new Error(decoded.error);
  const checked = checkWeights(network.value, decoded.value.tensors);
  if (!checked.ok) throw new Error(checked.error);
  return { network: network.value, tensors: decoded.value.tensors };
}

/** The nodes that are off by more than 1e-4 anywhere, with by how much. */
function nodesOff(network: Network, weights: HostWeights, tensors: HostWeights, fetches: readonly string[]): object[] {
  const images = tensors.get(`activation/${IMAGES}`)!;
  return tidy(() => {
    const feeds = new Map([[IMAGES, tensor(images.data as Float32Array, [...images.shape])]]);
    const nodes = forward(network, toDevice(weights), feeds, fetches);
    return nodes.flatMap((node, index) => {
      const { shape, data } = tensors.get(`activation/${fetches[index]}`)!;
      expect(node.shape).toEqual(shape);
      const largestDifference = Math.max(...node.dataSync().map((value, at) => Math.abs(value - data[at]!)));
      return largestDifference <= 1e-4 ? [] : [{ node: fetches[index], largestDifference }];
    });
  });
}

describe.each(['cpu', 'wasm'] as const)('on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  it.each(['residual', 'mobile'])('the %s network computes what PyTorch computes, at every node', (name) => {
    const { network, tensors } = golden(name);
    const names = network.layers.map((layer) => layer.name);
    expect(nodesOff(network, tensors, tensors, names)).toEqual([]);
    expect(nodesOff(network, tensors, tensors, [network.output])).toEqual([]);
  });

  it.each([
    ['residual', 3],
    ['mobile', 1],
  ])('the %s network computes the same with %i batch norms folded away', (name, count) => {
    const { network, tensors } = golden(name);
    const folded = foldBatchNorm(network, tensors);
    expect(network.layers.length - folded.network.layers.length).toBe(count);
    const names = folded.network.layers.map((layer) => layer.name);
    expect(nodesOff(folded.network, folded.weights, tensors, names)).toEqual([]);
  });
});

it('the golden networks have every type of layer between them', () => {
  const types = new Set(['residual', 'mobile'].flatMap((name) => golden(name).network.layers.map(({ type }) => type)));
  expect(types.size).toBe(25);
});
