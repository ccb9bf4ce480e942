import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { foldBatchNorm, unfoldBatchNorm } from '../../src/network/fold.ts';
import { checkWeights } from '../../src/network/forward.ts';
import type { Layer, Network } from '../../src/network/network.ts';
import type { HostWeights } from '../../src/network/safetensors.ts';
import { expectClose, networkOf, randomImages, randomNetwork, randomWeights } from './networks.ts';
import { uniform } from '../support/uniform.ts';
import { referenceForward } from './reference.ts';

const conv: Layer = {
  type: 'conv2d',
  name: 'conv',
  inputs: ['images'],
  filters: 4,
  kernelSize: [3, 3],
  strides: [2, 1],
  dilations: [1, 1],
  groups: 2,
  padding: 'same',
  bias: false,
};
const norm = (name: string, input: string): Layer => ({ type: 'batchNorm', name, inputs: [input], epsilon: 1e-3 });
const relu = (input: string): Layer => ({ type: 'relu', name: 'relu', inputs: [input] });
const input = [6, 5, 2];

/** Folds, and checks that every node that is left has the value it had. */
function foldAndCompare(network: Network, seed: number): { network: Network; weights: HostWeights } {
  const weights = randomWeights(network, seed);
  const folded = foldBatchNorm(network, weights);
  expect(checkWeights(folded.network, folded.weights)).toMatchObject({ ok: true });
  const { data } = randomImages(network, 1, seed + 1);
  const before = referenceForward(network, weights, data);
  const after = referenceForward(folded.network, folded.weights, data);
  for (const [name, { shape, data: values }] of after) {
    expect(shape).toEqual(before.get(name)!.shape);
    const expected = before.get(name)!.data;
    const largest = Math.max(...values.map((value, index) => Math.abs(value - expected[index]!)));
    expect({ name, largest, near: largest < 1e-5 }).toMatchObject({ near: true });
  }
  return folded;
}

const types = ({ layers }: Network): string[] => layers.map(({ type }) => type);

describe('foldBatchNorm', () => {
  it.each([
    ['a grouped convolution without bias', conv],
    ['a convolution with bias', { ...conv, groups: 1, bias: true }],
    ['a depthwise convolution', { ...conv, groups: 2, filters: 2 }],
  ])('merges batch norm into %s', (_, layer) => {
    const { network, weights } = foldAndCompare(networkOf(input, [layer, norm('norm', 'conv'), relu('norm')]), 1);
    expect(types(network)).toEqual(['conv2d', 'relu', 'flatten', 'dense']);
    expect([...weights.keys()].toSorted()).toEqual(['logits/bias', 'logits/kernel', 'norm/bias', 'norm/kernel']);
  });

  it('merges batch norm into a dense layer, and one batch norm after another', () => {
    const dense: Layer = { type: 'dense', name: 'dense', inputs: ['vector'], units: 5, bias: false };
    const vector: Layer = { type: 'flatten', name: 'vector', inputs: ['images'] };
    const layers = [vector, dense, norm('first', 'dense'), norm('second', 'first'), relu('second')];
    expect(types(foldAndCompare(networkOf(input, layers), 2).network)).toEqual([
      'flatten',
      'dense',
      'relu',
      'flatten',
      'dense',
    ]);
  });

  it('does NOT merge where something else reads the convolution, or where batch norm comes before it', () => {
    const layers = [norm('early', 'images'), { ...conv, inputs: ['early'] as [string] }, norm('late', 'conv')];
    const sum: Layer = { type: 'add', name: 'sum', inputs: ['conv', 'late'] };
    const network = networkOf(input, [...layers, sum]);
    expect(foldAndCompare(network, 3).network).toEqual(network);
  });

  it('does NOT merge into a layer that is the output', () => {
    const network = networkOf(input, [conv]);
    const watched = { ...network, layers: [...network.layers, norm('after', 'logits')] };
    expect(foldBatchNorm(watched, randomWeights(watched, 4)).network).toEqual(watched);
  });

  it('keeps every node of random graphs, and changes nothing where there is no batch norm to merge', () => {
    fc.assert(
      fc.property(fc.nat(), (seed) => {
        const network = randomNetwork(seed, 12);
        const { network: folded, weights } = foldAndCompare(network, seed);
        expect(foldBatchNorm(folded, weights)).toEqual({ network: folded, weights });
      }),
    );
  });

  it('passes other tensors on untouched, and throws when a weight is missing', () => {
    const network = networkOf(input, [conv, norm('norm', 'conv')]);
    const weights = randomWeights(network, 5);
    const quarantined = weights.get('logits/kernel')!;
    expect(foldBatchNorm(network, new Map(weights).set('quarantine/x', quarantined)).weights.get('quarantine/x')).toBe(
      quarantined,
    );
    weights.delete('norm/mean');
    expect(() => foldBatchNorm(network, weights)).toThrow('weight "norm/mean" is missing');
  });
});

/** Weights of which about half of the tensors changed, each in about half of its numbers. */
function changedWeights(weights: HostWeights, seed: number): HostWeights {
  const next = uniform(seed);
  return new Map(
    [...weights].map(([name, tensor]) => {
      if (next() < 0.5) return [name, tensor];
      const data = Float32Array.from(tensor.data, (value) => (next() < 0.5 ? value : value + next() - 0.5));
      return [
        name,
        { dtype: 'F32', shape: tensor.shape, data: name.endsWith('/variance') ? data.map(Math.abs) : data },
      ];
    }),
  );
}

describe('unfoldBatchNorm', () => {
  it('gives back the very same tensors where nothing changed', () => {
    fc.assert(
      fc.property(fc.nat(), (seed) => {
        const network = randomNetwork(seed, 12);
        const weights = randomWeights(network, seed);
        const unfolded = unfoldBatchNorm(network, weights, foldBatchNorm(network, weights).weights);
        if (!unfolded.ok) throw new Error(unfolded.error);
        expect([...unfolded.value.keys()]).toEqual([...weights.keys()]);
        for (const [name, tensor] of unfolded.value) expect(tensor).toBe(weights.get(name));
      }),
    );
  });

  it('gives weights that fold to the changed ones, and keeps the bits of every number that did not change', () => {
    fc.assert(
      fc.property(fc.nat(), (seed) => {
        const network = randomNetwork(seed, 12);
        const weights = randomWeights(network, seed);
        const folded = foldBatchNorm(network, weights).weights;
        const purified = changedWeights(folded, seed + 1);
        const unfolded = unfoldBatchNorm(network, weights, purified);
        if (!unfolded.ok) throw new Error(unfolded.error);
        const again = foldBatchNorm(network, unfolded.value).weights;
        for (const [name, { data }] of purified) {
          expectClose(again.get(name)!.data, data, 1e-5);
          data.forEach((value, index) => {
            if (value === folded.get(name)!.data[index]) expect(again.get(name)!.data[index]).toBe(value);
          });
        }
      }),
    );
  });

  it('divides by the scales of all batch norms in a row, and gives the change of the bias to the last', () => {
    const dense: Layer = { type: 'dense', name: 'dense', inputs: ['vector'], units: 5, bias: true };
    const vector: Layer = { type: 'flatten', name: 'vector', inputs: ['images'] };
    const network = networkOf(input, [vector, dense, norm('first', 'dense'), norm('second', 'first')]);
    const weights = randomWeights(network, 6);
    const folded = foldBatchNorm(network, weights).weights;
    const purified = new Map(folded);
    for (const name of ['second/kernel', 'second/bias']) {
      const { shape, data } = folded.get(name)!;
      purified.set(name, { dtype: 'F32', shape, data: Float32Array.from(data, (value) => value + 0.25) });
    }
    const unfolded = unfoldBatchNorm(network, weights, purified);
    if (!unfolded.ok) throw new Error(unfolded.error);
    const changed = [...unfolded.value].filter(([name, tensor]) => tensor !== weights.get(name));
    expect(changed.map(([name]) => name)).toEqual(['dense/kernel', 'second/beta']);
    const again = foldBatchNorm(network, unfolded.value).weights;
    for (const [name, { data }] of purified) expectClose(again.get(name)!.data, data, 1e-5);
  });

  it('fails where a batch norm scales a changed kernel by zero, but not where only the bias behind it changed', () => {
    const network = networkOf(input, [conv, norm('norm', 'conv')]);
    const weights = randomWeights(network, 7);
    weights.set('norm/gamma', { dtype: 'F32', shape: [4], data: Float32Array.of(1, 0, 1, 1) });
    const folded = foldBatchNorm(network, weights).weights;
    const withData = (name: string, data: Float32Array): HostWeights =>
      new Map(folded).set(name, { dtype: 'F32', shape: folded.get(name)!.shape, data });
    const kernel = Float32Array.from(folded.get('norm/kernel')!.data);
    kernel[1]! += 1;
    expect(unfoldBatchNorm(network, weights, withData('norm/kernel', kernel))).toEqual({
      ok: false,
      error: 'layer "norm": its batch norm scales by 0, so that no weights before it give the new ones',
    });
    const bias = Float32Array.from(folded.get('norm/bias')!.data, (value) => value + 1);
    expect(unfoldBatchNorm(network, weights, withData('norm/bias', bias))).toMatchObject({ ok: true });
  });
});
