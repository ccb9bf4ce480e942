/** Models for the tests of all exporters: each layer with each of its options, whole networks, and a trained victim. */
import { tensor, tidy } from '@tensorflow/tfjs-core';
import { join, resolve } from 'node:path';
import { loadDataset } from '../../offline/data/load.ts';
import { loadModel, type Model } from '../../offline/model.ts';
import { forward, toDevice } from '../../src/network/forward.ts';
import { IMAGES, type Layer, type Network } from '../../src/network/network.ts';
import type { Result } from '../../src/result.ts';
import { conv, input, inputs, layerCases } from '../network/layer-cases.ts';
import { networkOf, randomNetwork, randomWeights } from '../network/networks.ts';

export type Images = { shape: number[]; data: Float32Array };

const vector: Layer = { type: 'globalAveragePool', name: 'vector', inputs };
/** Rows of channels, no longer an image. */
const rows: Layer = { type: 'reshape', name: 'rows', inputs, shape: [42, 4] };
const onVectors: [string, Layer[]][] = (['vector', 'rows'] as const).flatMap((node) => {
  const first = node === 'vector' ? vector : rows;
  const fixed = { name: 'x', inputs: [node] as [string] };
  return [
    ['normalize', { type: 'normalize', ...fixed, mean: [0.1, 0.2, 0.3, 0.4], std: [0.5, 1, 2, 3] }],
    ['batchNorm', { type: 'batchNorm', ...fixed, epsilon: 1e-3 }],
    ['softmax', { type: 'softmax', ...fixed }],
    ['concat', { type: 'concat', name: 'x', inputs: [node, node] }],
    ['selectChannels', { type: 'selectChannels', ...fixed, channels: [3, 1] }],
    ['flatten', { type: 'flatten', ...fixed }],
    ['reshape', { type: 'reshape', ...fixed, shape: node === 'vector' ? [2, 2, 1] : [3, 7, 8] }],
  ].map(([name, layer]): [string, Layer[]] => [`${name as string} of ${node}`, [first, layer as Layer]]);
});
const uneven = { top: 2, bottom: 0, left: 1, right: 0 };
const further: [string, Layer[]][] = [
  [
    'maxPool of nothing negative, uneven sides',
    [
      { type: 'relu', name: 'relu', inputs },
      { type: 'maxPool', name: 'x', inputs: ['relu'], poolSize: [3, 2], strides: [2, 2], padding: uneven },
    ],
  ],
  [
    'maxPool of padded negative values',
    [
      { type: 'normalize', name: 'negative', inputs, mean: [2, 2, 2, 2], std: [1, 1, 1, 1] },
      { type: 'pad', name: 'pad', inputs: ['negative'], padding: { ...uneven, right: 2 } },
      { type: 'maxPool', name: 'x', inputs: ['pad'], poolSize: [3, 2], strides: [2, 2], padding: uneven },
    ],
  ],
  ['add of the same layer twice', [conv, { type: 'add', name: 'y', inputs: ['x', 'x'] }]],
  [
    'conv2d, four groups of two',
    [
      { ...conv, filters: 8 },
      { ...conv, name: 'y', inputs: ['x'], groups: 4, filters: 12 },
    ],
  ],
  ['conv2d, groups, dilated and strided', [{ ...conv, groups: 2, dilations: [2, 2], strides: [2, 2] }]],
  // Names that other formats do not take, and names that an exporter could think of for a part of a layer.
  [
    'names',
    [
      { ...conv, name: '_a:b/c' },
      { ...conv, name: 'x/kernel' },
      { ...conv, name: 'x', inputs: ['x/kernel'] },
    ],
  ],
];

/** A name, and the network that it stands for. */
export const networkCases: [string, Network][] = [
  ...[...layerCases, ...onVectors, ...further].map(([name, layers]): [string, Network] => [
    name,
    networkOf(input, layers),
  ]),
  ...Array.from({ length: 25 }, (_, seed): [string, Network] => [`random network ${seed}`, randomNetwork(seed, 12)]),
];

/** A network with random weights. */
export const randomModel = (network: Network): Model => ({ network, weights: randomWeights(network, 1) });

/** The logits of the network's own forward pass. */
export const expectedLogits = ({ network, weights }: Model, images: Images): Float32Array =>
  tidy(() => {
    const feeds = new Map([[IMAGES, tensor(images.data, images.shape)]]);
    return forward(network, toDevice(weights), feeds, [network.output])[0]!.dataSync() as Float32Array;
  });

const example = resolve(import.meta.dirname, '../../offline/example');

/** The committed victim, and 64 real images for it. */
export async function victimCase(): Promise<{ model: Model; images: Images }> {
  const model = value(await loadModel(join(example, 'victim')));
  const { images, height, width, channels } = value(await loadDataset(join(example, 'clean-500.safetensors')));
  const shape = [64, height, width, channels];
  const size = shape.reduce((total, axis) => total * axis, 1);
  return { model, images: { shape, data: Float32Array.from(images.subarray(0, size), (pixel) => pixel / 255) } };
}

function value<T>(result: Result<T>): T {
  if (!result.ok) throw new Error(result.error);
  return result.value;
}
