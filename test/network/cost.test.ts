import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { cutCosts, guardShare, layerCosts } from '../../src/network/cost.ts';
import { cutCandidates } from '../../src/network/cuts.ts';
import { nodeShapes, weightShapes, type Layer, type Network } from '../../src/network/network.ts';
import { networkOf, randomNetwork } from './networks.ts';
import { testNetwork } from '../support/release.ts';

type Pair = [number, number];
const pair = (size: number): Pair => [size, size];
const convolution = (name: string, input: string, filters: number, groups = 1): Layer => ({
  type: 'conv2d',
  name,
  inputs: [input],
  filters,
  groups,
  kernelSize: pair(3),
  strides: pair(1),
  dilations: pair(1),
  padding: 'same',
  bias: true,
});

describe('layerCosts', () => {
  test('counts parameters and multiply-accumulates of convolutions, depthwise ones and dense layers', () => {
    const network = networkOf([8, 8, 3], [convolution('conv', 'images', 16), convolution('depthwise', 'conv', 16, 16)]);
    expect(layerCosts(network)).toEqual([
      { name: 'conv', type: 'conv2d', output: [8, 8, 16], parameters: 16 * 27 + 16, macs: 8 * 8 * 16 * 27 },
      { name: 'depthwise', type: 'conv2d', output: [8, 8, 16], parameters: 16 * 9 + 16, macs: 8 * 8 * 16 * 9 },
      { name: 'flat', type: 'flatten', output: [1024], parameters: 0, macs: 0 },
      { name: 'logits', type: 'dense', output: [3], parameters: 1024 * 3 + 3, macs: 1024 * 3 },
    ]);
  });

  test('agrees with the shapes of nodes and weights, for random graphs', () => {
    fc.assert(
      fc.property(fc.nat(), (seed) => {
        const network = randomNetwork(seed, 12);
        const shapes = nodeShapes(network);
        const costs = layerCosts(network);
        const values = [...weightShapes(network).values()].map((shape) => shape.reduce((a, b) => a * b, 1));
        expect(costs.reduce((total, { parameters }) => total + parameters, 0)).toBe(values.reduce((a, b) => a + b, 0));
        for (const { name, output } of costs) expect(shapes.ok && shapes.value.get(name)).toEqual(output);
      }),
    );
  });
});

/** Convolutions in a row at 8 pixels, 9 MB each. */
const large = (count: number): Network =>
  networkOf(
    [8, 8, 3],
    Array.from({ length: count }, (_, index) =>
      convolution(`conv${index}`, index ? `conv${index - 1}` : 'images', 500),
    ),
  );

test('a guard computes again what lies between an early cut and the last one, and nothing at the last', () => {
  const macs = layerCosts(testNetwork).map((cost) => [cost.name, cost.macs] as const);
  const total = macs.reduce((sum, [, value]) => sum + value, 0);
  expect(guardShare(testNetwork, 'stage1/relu')).toBeCloseTo(new Map(macs).get('stage2/conv')! / total, 12);
  expect(guardShare(testNetwork, 'stage1/relu')).toBeGreaterThan(0.5);
  expect(guardShare(testNetwork, 'pool')).toBe(0);
});

describe('cutCosts', () => {
  test('names every cut that has weights behind it, in order', () => {
    expect(cutCosts(testNetwork).map(({ cut }) => cut)).toEqual(cutCandidates(testNetwork));
    const behind: Network = {
      ...testNetwork,
      layers: [...testNetwork.layers, { type: 'relu', name: 'last', inputs: ['logits'] }],
      output: 'last',
    };
    expect(cutCandidates(behind)).toContain('logits');
    expect(cutCosts(behind).map(({ cut }) => cut)).not.toContain('logits');
  });

  test('says that a small network takes what the program and the first heap take', () => {
    for (const { memoryBytes } of cutCosts(testNetwork)) {
      expect(memoryBytes).toBeGreaterThan(24e6);
      expect(memoryBytes).toBeLessThan(26e6);
    }
  });

  test('rises with every layer that the quarantined head holds', () => {
    const memory = cutCosts(large(4)).map(({ memoryBytes }) => memoryBytes);
    expect(memory.length).toBeGreaterThan(3);
    expect(memory).toEqual(memory.toSorted((a, b) => b - a));
    // A filter of 9 MB more in the head: once in the release and three times in a heap that is a tenth too large.
    expect(memory[0]! - memory[1]!).toBeCloseTo(9_002_000 + 1.1 * (3 * 9_000_000 + 3 * 2000), -5);
  });
});
