/** Small random networks, weights and images for the tests of src/network. Everything follows from a seed. */
import { expect } from 'vitest';
import {
  nodeShapes,
  parseNetwork,
  weightShapes,
  type Layer,
  type Network,
  type Shape,
} from '../../src/network/network.ts';
import type { HostTensor } from '../../src/network/safetensors.ts';
import { uniform } from '../support/uniform.ts';

/** A network of these layers on images [height,width,channels], with a dense layer to three logits on the last of them. */
export function networkOf(input: Shape, layers: readonly Layer[]): Network {
  const [height, width, channels] = input as [number, number, number];
  const last = layers.at(-1)!.name;
  const network = parseNetwork({
    schemaVersion: 1,
    input: { height, width, channels },
    labelNames: ['a', 'b', 'c'],
    layers: [
      ...layers,
      { type: 'flatten', name: 'flat', inputs: [last] },
      { type: 'dense', name: 'logits', inputs: ['flat'], units: 3, bias: true },
    ],
    output: 'logits',
  });
  if (!network.ok) throw new Error(network.error);
  return network.value;
}

/** Weights that keep activations near 1 in size; variances lie in 0.5..1.5. */
export function randomWeights(network: Network, seed: number): Map<string, HostTensor> {
  const next = uniform(seed);
  const entries = [...weightShapes(network)].map(([name, shape]) => {
    const fanIn = shape.slice(0, -1).reduce((total, axis) => total * axis, 1);
    const draw = name.endsWith('/variance')
      ? () => 0.5 + next()
      : () => (2 * next() - 1) * Math.sqrt(3 / (name.endsWith('/kernel') ? fanIn : 3));
    return [name, { dtype: 'F32' as const, shape, data: Float32Array.from({ length: size(shape) }, draw) }] as const;
  });
  return new Map(entries);
}

/** Images [batch,H,W,C] in 0..1. */
export function randomImages(network: Network, batch: number, seed: number): { shape: number[]; data: Float32Array } {
  const next = uniform(seed);
  const { height, width, channels } = network.input;
  const shape = [batch, height, width, channels];
  return { shape, data: Float32Array.from({ length: size(shape) }, () => next()) };
}

/** A graph of up to `count` layers of all kinds, with branches that are added or concatenated where shapes allow. */
export function randomNetwork(seed: number, count: number): Network {
  const next = uniform(seed);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)]!;
  const input = [5 + Math.floor(next() * 6), 5 + Math.floor(next() * 6), pick([1, 2, 4])];
  const layers: Layer[] = [];
  const open = new Map<string, Shape>([['images', input]]);
  for (let index = 0; index < count; index += 1) {
    const candidate = { ...randomLayer(pick, [...open.entries()]), name: `layer${index}` } as Layer;
    const shapes = nodeShapes({ ...networkOf(input, [identity]), layers: [...layers, candidate] });
    // The output does not exist yet, so only that complaint may come.
    if (shapes.ok || !shapes.error.includes('output "logits"')) continue;
    layers.push(candidate);
    const grown = nodeShapes(networkOf(input, layers));
    if (!grown.ok) throw new Error(grown.error);
    open.set(candidate.name, grown.value.get(candidate.name)!);
  }
  return networkOf(input, layers.length ? layers : [identity]);
}

const identity: Layer = { type: 'leakyRelu', name: 'same', inputs: ['images'], alpha: 1 };

function randomLayer(pick: <T>(list: readonly T[]) => T, open: readonly [string, Shape][]): object {
  const near = open.slice(-3);
  const [from, shape] = pick(near);
  const channels = shape.at(-1)!;
  const peers = open.filter(([, other]) => other.join() === shape.join()).map(([name]) => name);
  const small = [1, 2, 3] as const;
  const sides = { top: pick([0, 1]), bottom: pick([0, 1]), left: pick([0, 1]), right: pick([0, 1]) };
  const inputs = [from];
  const conv = {
    type: 'conv2d',
    inputs,
    filters: pick([2, 4]),
    kernelSize: [pick(small), pick(small)],
    strides: [pick([1, 1, 2]), pick([1, 1, 2])],
    dilations: [pick([1, 1, 2]), pick([1, 1, 2])],
    groups: pick([1, 1, 2, channels]),
    padding: pick(['same', 'valid', sides]),
    bias: pick([true, false]),
  };
  const pool = { inputs, poolSize: [2, pick([2, 3])], strides: [pick([1, 2]), 2], padding: conv.padding };
  const activation = pick([
    'relu',
    'relu6',
    'elu',
    'selu',
    'sigmoid',
    'tanh',
    'swish',
    'hardSwish',
    'gelu',
    'geluTanh',
  ]);
  return pick([
    conv,
    conv,
    conv,
    { type: 'batchNorm', inputs, epsilon: 1e-3 },
    { type: activation, inputs },
    { type: activation, inputs },
    { type: 'leakyRelu', inputs, alpha: 0.1 },
    { type: 'add', inputs: [from, pick(peers)] },
    { type: 'concat', inputs: [from, pick(peers)] },
    { type: 'maxPool', ...pool },
    { type: 'averagePool', ...pool },
    { type: 'pad', inputs, padding: sides },
  ]);
}

const size = (shape: Shape): number => shape.reduce((total, axis) => total * axis, 1);

/** Expects equal numbers but for `limit`, taken relative to numbers beyond 1. */
export const expectClose = (actual: ArrayLike<number>, expected: ArrayLike<number>, limit: number): void => {
  expect(actual.length).toBe(expected.length);
  const differences = Array.from(
    expected,
    (value, index) => Math.abs(value - actual[index]!) / Math.max(1, Math.abs(value)),
  );
  expect(differences.findIndex((difference) => !(difference <= limit))).toBe(-1);
};
