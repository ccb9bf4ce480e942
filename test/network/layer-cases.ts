import { IMAGES, type Layer } from '../../src/network/network.ts';

export const inputs: [string] = [IMAGES];
/** A 3x3 convolution `x` of the images. */
export const conv = {
  type: 'conv2d' as const,
  name: 'x',
  inputs,
  filters: 4,
  kernelSize: [3, 3] as [number, number],
  strides: [1, 1] as [number, number],
  dilations: [1, 1] as [number, number],
  groups: 1,
  padding: 'same' as 'same' | 'valid' | { top: number; bottom: number; left: number; right: number },
  bias: true,
};
const pool = { name: 'x', inputs, poolSize: [3, 2] as [number, number], strides: [2, 2] as [number, number] };
const uneven = { top: 2, bottom: 0, left: 1, right: 0 };

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
  'softmax',
] as const;
/** Scaled to about -6..6, so that every piece of the activation is met. */
const wide: Layer = {
  type: 'normalize',
  name: 'wide',
  inputs,
  mean: [0.5, 0.5, 0.5, 0.5],
  std: [0.08, 0.2, 0.15, 0.3],
};

/** Every type of layer with every kind of its options: what it is, and the layers from `images` to it. */
export const layerCases: [string, Layer[]][] = [
  ['normalize', [wide]],
  ['conv2d, same', [conv]],
  ['conv2d, valid, no bias', [{ ...conv, padding: 'valid', bias: false }]],
  ['conv2d, 1x1', [{ ...conv, kernelSize: [1, 1] }]],
  ['conv2d, even kernel, same', [{ ...conv, kernelSize: [2, 4] }]],
  ['conv2d, strided, same', [{ ...conv, strides: [2, 3] }]],
  ['conv2d, stride over the kernel', [{ ...conv, kernelSize: [1, 2], strides: [2, 3] }]],
  ['conv2d, uneven sides', [{ ...conv, strides: [2, 2], padding: uneven }]],
  ['conv2d, dilated', [{ ...conv, dilations: [2, 3] }]],
  ['conv2d, dilated and strided', [{ ...conv, dilations: [2, 1], strides: [2, 2], padding: uneven }]],
  ['conv2d, two groups', [{ ...conv, groups: 2, filters: 6 }]],
  ['conv2d, depthwise', [{ ...conv, groups: 4, padding: uneven, strides: [2, 2] }]],
  ['conv2d, depthwise with multiplier', [{ ...conv, groups: 4, filters: 8 }]],
  ['conv2d, depthwise, dilated', [{ ...conv, groups: 4, dilations: [2, 2] }]],
  ['conv2d, depthwise, dilated and strided', [{ ...conv, groups: 4, dilations: [2, 2], strides: [2, 1] }]],
  ['batchNorm', [{ type: 'batchNorm', name: 'x', inputs, epsilon: 1e-3 }]],
  ['add', [wide, { type: 'add', name: 'x', inputs: [IMAGES, 'wide', IMAGES] }]],
  ['concat', [wide, { type: 'concat', name: 'x', inputs: ['wide', IMAGES] }]],
  ['pad', [{ type: 'pad', name: 'x', inputs, padding: uneven }]],
  ['maxPool, same', [wide, { ...pool, inputs: ['wide'], type: 'maxPool', padding: 'same' }]],
  ['maxPool, valid', [{ ...pool, type: 'maxPool', padding: 'valid' }]],
  ['maxPool, uneven sides', [wide, { ...pool, inputs: ['wide'], type: 'maxPool', padding: uneven }]],
  ['averagePool, same', [{ ...pool, type: 'averagePool', padding: 'same' }]],
  ['averagePool, valid', [{ ...pool, type: 'averagePool', padding: 'valid' }]],
  ['averagePool, uneven sides', [{ ...pool, type: 'averagePool', padding: uneven }]],
  ['globalAveragePool', [{ type: 'globalAveragePool', name: 'x', inputs }]],
  ['globalMaxPool', [{ type: 'globalMaxPool', name: 'x', inputs }]],
  ['selectChannels', [{ type: 'selectChannels', name: 'x', inputs, channels: [2, 0, 1, 1] }]],
  ['flatten', [{ type: 'flatten', name: 'x', inputs }]],
  ['reshape', [{ type: 'reshape', name: 'x', inputs, shape: [14, 4, 3] }]],
  ['leakyRelu', [wide, { type: 'leakyRelu', name: 'x', inputs: ['wide'], alpha: 0.1 }]],
  ...activations.map((type): [string, Layer[]] => [type, [wide, { type, name: 'x', inputs: ['wide'] }]]),
];
/** Height, width and channels of the images that the cases are made for. */
export const input = [7, 6, 4];
