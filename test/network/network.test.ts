import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cutCandidates, headLayers } from '../../src/network/cuts.ts';
import { IMAGES, nodeShapes, parseNetwork, weightShapes, type Layer, type Network } from '../../src/network/network.ts';
import { uniform } from '../support/uniform.ts';
import { networkOf } from './networks.ts';

const conv = {
  type: 'conv2d',
  name: 'conv',
  inputs: ['images'],
  filters: 4,
  kernelSize: [3, 3],
  strides: [1, 1],
  dilations: [1, 1],
  groups: 1,
  padding: 'same',
  bias: true,
};
const pool = { type: 'maxPool', name: 'pool', inputs: ['images'], poolSize: [2, 2], strides: [2, 2], padding: 'valid' };

/** A network of one layer under test, then flattened to two logits. */
const withLayer = (layer: unknown, name = 'conv'): unknown => ({
  schemaVersion: 1,
  input: { height: 8, width: 6, channels: 4 },
  labelNames: ['cat', 'dog'],
  layers: [
    layer,
    { type: 'flatten', name: 'flat', inputs: [name] },
    { type: 'dense', name: 'logits', inputs: ['flat'], units: 2, bias: true },
  ],
  output: 'logits',
});
const changed = (change: object): unknown => ({ ...(withLayer(conv) as object), ...change });

describe('parseNetwork', () => {
  it('accepts a network and gives it back', () => {
    expect(parseNetwork(withLayer(conv))).toEqual({ ok: true, value: withLayer(conv) });
  });

  it.each([
    ['no object', null, 'network: file: '],
    ['another schema version', changed({ schemaVersion: 2 }), 'network: schemaVersion: '],
    ['an input without channels', changed({ input: { height: 8, width: 6 } }), 'network: input.channels: '],
    ['a single label', changed({ labelNames: ['cat'] }), 'network: labelNames: '],
    ['a field it does not know', changed({ licence: 'MIT' }), 'network: file: Unrecognized key: "licence"'],
    ['no layers', changed({ layers: [] }), 'network: layers: '],
    ['a layer that is no object', withLayer(7), 'network: layer 0: entry: '],
    ['an unknown layer type', withLayer({ ...conv, type: 'lstm' }), 'network: layer "conv": type: '],
    ['a bad name', withLayer({ ...conv, name: 'conv 1' }), 'network: layer "conv 1": name: expected letters'],
    ['an unknown padding', withLayer({ ...conv, padding: 'full' }), 'network: layer "conv": padding: expected "same"'],
    ['a stride of 0', withLayer({ ...conv, strides: [1, 0] }), 'network: layer "conv": strides.1: '],
    ['half a filter', withLayer({ ...conv, filters: 0.5 }), 'network: layer "conv": filters: '],
    ['an unknown field', withLayer({ ...conv, activation: 'relu' }), 'network: layer "conv": entry: Unrecognized key'],
    ['a name used twice', withLayer({ ...conv, name: 'images' }), 'layer "images": the name is used twice'],
    [
      'an input that is nowhere',
      withLayer({ ...conv, inputs: ['x'] }),
      'layer "conv": input "x" is not an earlier node',
    ],
    [
      'an input that comes later',
      withLayer({ ...conv, inputs: ['flat'] }),
      'layer "conv": input "flat" is not an earlier',
    ],
    ['groups that do not divide', withLayer({ ...conv, groups: 3 }), 'layer "conv" (conv2d): groups 3 must divide'],
    [
      'a window over its input',
      withLayer({ ...conv, padding: 'valid', dilations: [4, 1] }),
      'layer "conv" (conv2d): the window [9,3] is larger than its input [8,6,4]',
    ],
    [
      'a pooling window that could lie on padding alone',
      withLayer({ ...pool, padding: { top: 0, bottom: 0, left: 0, right: 2 } }, 'pool'),
      'layer "pool" (maxPool): its padding must be smaller than its window',
    ],
    [
      'a dense layer on images',
      withLayer({ type: 'dense', name: 'conv', inputs: ['images'], units: 2, bias: true }),
      'layer "conv" (dense): expected an input [C], got [8,6,4]',
    ],
    [
      'means for other channels',
      withLayer({ type: 'normalize', name: 'conv', inputs: ['images'], mean: [0, 0, 0], std: [1, 1, 1] }),
      'layer "conv" (normalize): expected 4 values in mean and in std',
    ],
    [
      'a reshape that loses values',
      withLayer({ type: 'reshape', name: 'conv', inputs: ['images'], shape: [8, 6] }),
      'layer "conv" (reshape): [8,6,4] does not reshape to [8,6]',
    ],
    [
      'an output that is nowhere',
      changed({ output: 'x' }),
      'output "x": expected [2] (one logit a label), got no such node',
    ],
    ['an output of another size', changed({ labelNames: ['a', 'b', 'c'] }), 'output "logits": expected [3]'],
  ])('refuses %s and names the place', (_, json, message) => {
    const parsed = parseNetwork(json);
    expect(!parsed.ok && parsed.error).toContain(message);
    expect(!parsed.ok && parsed.error).not.toContain('\n');
  });

  it('refuses to add what differs in shape, and to concatenate what differs in height or width', () => {
    for (const [type, message] of [
      ['add', 'its inputs differ in shape'],
      ['concat', 'its inputs differ in height or width'],
    ]) {
      const network = withLayer(pool, 'both') as { layers: unknown[] };
      network.layers.splice(1, 0, { type, name: 'both', inputs: ['pool', 'images'] });
      expect(parseNetwork(network)).toMatchObject({ error: expect.stringContaining(message!) as string });
    }
  });

  it('never throws, whatever JSON it is given', () => {
    const field = fc.constantFrom(...Object.keys(conv), 'poolSize', 'epsilon', 'shape', 'mean');
    const layer = fc.dictionary(field, fc.oneof(fc.jsonValue(), fc.constantFrom('conv2d', 'add', 'images', 'conv')));
    fc.assert(
      fc.property(
        fc.oneof(
          fc.jsonValue(),
          layer.map((item) => withLayer({ ...conv, ...item })),
        ),
        (json) => {
          const parsed = parseNetwork(json);
          if (!parsed.ok) expect(parsed.error).toMatch(/^network: /);
        },
      ),
    );
  });
});

describe('weightShapes', () => {
  it('lists kernels, biases and batch-norm vectors under their layers', () => {
    const layers: Layer[] = [
      { ...(conv as Extract<Layer, { type: 'conv2d' }>), groups: 2, bias: false },
      { type: 'batchNorm', name: 'norm', inputs: ['conv'], epsilon: 1e-5 },
      { type: 'globalMaxPool', name: 'pooled', inputs: ['norm'] },
    ];
    expect(Object.fromEntries(weightShapes(networkOf([5, 5, 6], layers)))).toEqual({
      'conv/kernel': [3, 3, 3, 4],
      'norm/gamma': [4],
      'norm/beta': [4],
      'norm/mean': [4],
      'norm/variance': [4],
      'logits/kernel': [4, 3],
      'logits/bias': [3],
    });
  });
});

/** A random graph in which layers are added up, so that branches open, close, overlap and die. */
function randomGraph(seed: number): Network {
  const next = uniform(seed);
  const names = [IMAGES];
  const layers: Layer[] = [];
  const pick = (): string => names[names.length - 1 - Math.floor(next() ** 2 * names.length)]!;
  for (let index = 0; index < 12; index += 1) {
    const name = `n${index}`;
    layers.push(
      next() < 0.6 ? { type: 'relu', name, inputs: [pick()] } : { type: 'add', name, inputs: [pick(), pick()] },
    );
    names.push(name);
  }
  return networkOf([2, 2, 1], layers);
}

/** Whether the output can be reached from a node when `without` is taken out of the graph. */
function reachesOutput(network: Network, from: string, without: string | undefined): boolean {
  if (from === without) return false;
  if (from === network.output) return true;
  const readers = network.layers.filter(({ inputs }) => inputs.some((input) => input === from));
  return readers.some(({ name }) => reachesOutput(network, name, without));
}

describe('cutCandidates and headLayers', () => {
  it('find exactly the nodes whose removal parts images from the output', () => {
    let cuts = 0;
    fc.assert(
      fc.property(fc.nat(), (seed) => {
        const network = randomGraph(seed);
        const names = network.layers.map(({ name }) => name).filter((name) => name !== network.output);
        const expected = names.filter((name) => !reachesOutput(network, IMAGES, name));
        expect(cutCandidates(network)).toEqual(expected);
        cuts += expected.length;
      }),
    );
    expect(cuts).toBeGreaterThan(100);
  });

  it('put into the head what lies between the cut and the output, and nothing else', () => {
    fc.assert(
      fc.property(fc.nat(), (seed) => {
        const network = randomGraph(seed);
        for (const cut of cutCandidates(network)) {
          const head = headLayers(network, cut);
          const live = network.layers.filter(({ name }) => reachesOutput(network, name, undefined));
          const position = live.findIndex(({ name }) => name === cut);
          expect(head).toEqual(live.slice(position + 1));
        }
      }),
    );
  });

  it('find the block ends of a residual network', () => {
    const relu = (name: string, input: string): Layer => ({ type: 'relu', name, inputs: [input] });
    const layers = [
      relu('stem', IMAGES),
      relu('a', 'stem'),
      { type: 'add', name: 'block', inputs: ['stem', 'a'] } as Layer,
      relu('unused', 'a'),
      relu('end', 'block'),
    ];
    const network = networkOf([2, 2, 1], layers);
    expect(cutCandidates(network)).toEqual(['stem', 'block', 'end', 'flat']);
    expect(headLayers(network, 'block').map(({ name }) => name)).toEqual(['end', 'flat', 'logits']);
  });
});

it('nodeShapes gives images and every layer a shape', () => {
  const network = parseNetwork(withLayer({ ...pool, poolSize: [3, 3], padding: 'same', strides: [3, 4] }, 'pool'));
  const shapes = network.ok && nodeShapes(network.value);
  expect(shapes && shapes.ok && Object.fromEntries(shapes.value)).toEqual({
    images: [8, 6, 4],
    pool: [3, 2, 4],
    flat: [24],
    logits: [2],
  });
});
