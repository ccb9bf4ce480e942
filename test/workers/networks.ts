/** Releases made to try the edge: one with every layer type, one whose guard overflows on bright images. */
import { headWeightShapes } from '../../src/network/cuts.ts';
import { weightShapes, type Layer, type Network } from '../../src/network/network.ts';
import type { HostWeights } from '../../src/network/safetensors.ts';
import { featureCount } from '../../src/release/guard.ts';
import type { ReleaseContent } from '../../src/release/release.ts';
import { randomWeights, testContent } from '../support/release.ts';

const input = { height: 8, width: 8, channels: 1 };
const labelNames = ['bag', 'boot', 'coat'];
type Pair = [number, number];
const pair = (size: number): Pair => [size, size];
const plain = { strides: pair(1), dilations: pair(1), groups: 1, padding: 'same' as const, bias: true };

/** Weights in -scale..scale; variances are made positive. */
function weightsOf(shapes: Parameters<typeof randomWeights>[0], seed: number, scale: number): HostWeights {
  const entries = [...randomWeights(shapes, seed)].map(([name, tensor]) => {
    const positive = name.endsWith('/variance');
    const data = Float32Array.from(tensor.data, (value) => (positive ? Math.abs(value) + 0.5 : value * scale));
    return [name, { dtype: 'F32' as const, shape: tensor.shape, data }] as const;
  });
  return new Map(entries);
}

function contentOf(network: Network, cut: string, scale: number): ReleaseContent {
  const content = testContent();
  const features = featureCount(network, cut);
  if (!features.ok) throw new Error(features.error);
  const count = content.guard.fingerprint.triggers.length;
  return {
    manifest: { ...content.manifest, network, cut },
    weights: weightsOf(weightShapes(network), 3, scale),
    victimHead: weightsOf(headWeightShapes(network, cut), 4, scale),
    guard: {
      ...content.guard,
      probeWeights: Float32Array.from({ length: features.value * count }, (_, index) => Math.sin(index)),
    },
  };
}

/** The activations that run in one kernel with the layer before them. */
const fusable = ['relu', 'relu6', 'elu', 'leakyRelu'] as const;
const activated = (type: (typeof fusable)[number], input: string): Layer => {
  const layer = { name: `${input}/active`, inputs: [input] as [string] };
  return type === 'leakyRelu' ? { type, alpha: 0.2, ...layer } : { type, ...layer };
};

/** A network in which every layer type, every fused activation and every kind of padding occurs. */
export function everyLayerContent(): ReleaseContent {
  const activations = [
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
  ] as const;
  const sides = { top: 1, bottom: 0, left: 0, right: 1 };
  const layers: Layer[] = [
    { type: 'normalize', name: 'scale', inputs: ['images'], mean: [0.4], std: [0.5] },
    { ...plain, type: 'conv2d', name: 'conv', inputs: ['scale'], filters: 4, kernelSize: pair(3) },
    { type: 'batchNorm', name: 'norm', inputs: ['conv'], epsilon: 1e-3 },
    ...activations.map((type) => ({ type, name: type, inputs: ['norm'] as [string] })),
    { type: 'leakyRelu', name: 'leakyRelu', inputs: ['norm'], alpha: 0.1 },
    { type: 'add', name: 'sum', inputs: [...activations, 'leakyRelu'] },
    { ...plain, type: 'conv2d', name: 'depthwise', inputs: ['sum'], filters: 4, kernelSize: pair(3), groups: 4 },
    {
      ...plain,
      type: 'conv2d',
      name: 'grouped',
      inputs: ['sum'],
      filters: 4,
      kernelSize: pair(3),
      groups: 2,
      padding: { top: 1, bottom: 1, left: 1, right: 1 },
    },
    {
      ...plain,
      type: 'conv2d',
      name: 'dilated',
      inputs: ['sum'],
      filters: 4,
      kernelSize: pair(3),
      dilations: pair(2),
      bias: false,
    },
    ...fusable.flatMap((activation): Layer[] => [
      { ...plain, type: 'conv2d', name: `${activation}/conv`, inputs: ['sum'], filters: 3, kernelSize: pair(3) },
      activated(activation, `${activation}/conv`),
      {
        ...plain,
        type: 'conv2d',
        name: `${activation}/depthwise`,
        inputs: ['sum'],
        filters: 4,
        kernelSize: pair(3),
        groups: 4,
      },
      activated(activation, `${activation}/depthwise`),
    ]),
    {
      type: 'concat',
      name: 'joined',
      inputs: [
        'depthwise',
        'grouped',
        'dilated',
        ...fusable.flatMap((activation) => [`${activation}/conv/active`, `${activation}/depthwise/active`]),
      ],
    },
    { type: 'pad', name: 'padded', inputs: ['joined'], padding: sides },
    {
      ...plain,
      type: 'conv2d',
      name: 'strided',
      inputs: ['padded'],
      filters: 6,
      kernelSize: pair(3),
      strides: pair(2),
      padding: 'valid',
    },
    { type: 'relu', name: 'trunk', inputs: ['strided'] },
    { type: 'maxPool', name: 'highest', inputs: ['trunk'], poolSize: pair(2), strides: pair(2), padding: 'same' },
    { type: 'averagePool', name: 'average', inputs: ['trunk'], poolSize: pair(2), strides: pair(2), padding: sides },
    { type: 'globalAveragePool', name: 'means', inputs: ['trunk'] },
    { type: 'globalMaxPool', name: 'maxima', inputs: ['trunk'] },
    { type: 'flatten', name: 'flat', inputs: ['highest'] },
    { type: 'flatten', name: 'flatAverage', inputs: ['average'] },
    { type: 'concat', name: 'features', inputs: ['means', 'maxima', 'flat', 'flatAverage'] },
    ...fusable.flatMap((activation): Layer[] => [
      { type: 'dense', name: `${activation}/dense`, inputs: ['features'], units: 3, bias: true },
      activated(activation, `${activation}/dense`),
    ]),
    { type: 'concat', name: 'hidden', inputs: fusable.map((activation) => `${activation}/dense/active`) },
    { type: 'reshape', name: 'square', inputs: ['hidden'], shape: [2, 2, 3] },
    { type: 'globalAveragePool', name: 'pooled', inputs: ['square'] },
    { type: 'softmax', name: 'soft', inputs: ['pooled'] },
    { type: 'dense', name: 'logits', inputs: ['soft'], units: 3, bias: false },
  ];
  return contentOf({ schemaVersion: 1, input, labelNames, layers, output: 'logits' }, 'trunk', 0.5);
}

/** Its trunk is all zero on a black image and positive on others, and its probe multiplies that by nearly the largest number there is. */
export function overflowingContent(): ReleaseContent {
  const layers: Layer[] = [
    { ...plain, type: 'conv2d', name: 'conv', inputs: ['images'], filters: 2, kernelSize: pair(3), bias: false },
    { type: 'relu', name: 'trunk', inputs: ['conv'] },
    { type: 'globalAveragePool', name: 'pool', inputs: ['trunk'] },
    { type: 'dense', name: 'logits', inputs: ['pool'], units: 3, bias: true },
  ];
  const content = contentOf({ schemaVersion: 1, input, labelNames, layers, output: 'logits' }, 'trunk', 1);
  const kernel = content.weights.get('conv/kernel')!;
  const weights = new Map(content.weights).set('conv/kernel', {
    dtype: 'F32',
    shape: kernel.shape,
    data: new Float32Array(kernel.data.length).fill(1),
  });
  const probeWeights = new Float32Array(content.guard.probeWeights.length).fill(3e38);
  return { ...content, weights, guard: { ...content.guard, probeWeights, probeBias: new Float32Array(2) } };
}

/** Its widest layer has more activations than the WASM heap can hold. */
export function oversizedContent(): ReleaseContent {
  const wide = { top: 1024, bottom: 1024, left: 1024, right: 1024 };
  const layers: Layer[] = [
    { ...plain, type: 'conv2d', name: 'conv', inputs: ['images'], filters: 2, kernelSize: pair(3), bias: false },
    { type: 'relu', name: 'trunk', inputs: ['conv'] },
    { ...plain, type: 'conv2d', name: 'wide', inputs: ['trunk'], filters: 300, kernelSize: pair(1), padding: wide },
    { type: 'globalAveragePool', name: 'pool', inputs: ['wide'] },
    { type: 'dense', name: 'logits', inputs: ['pool'], units: 3, bias: true },
  ];
  return contentOf({ schemaVersion: 1, input, labelNames, layers, output: 'logits' }, 'trunk', 1);
}
