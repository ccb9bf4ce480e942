/** The small victim architecture: four convolutions, three of them with pooling, and one dense layer. */
import type { Layer, Network } from '../../src/network/network.ts';
import { weightShapes } from '../../src/network/network.ts';
import type { HostTensor } from '../../src/network/safetensors.ts';
import { randomSource } from '../engine/random.ts';

function convolution(stageName: string, input: string, filters: number): Layer[] {
  const name = `${stageName}-conv`;
  return [
    {
      type: 'conv2d',
      name,
      inputs: [input],
      filters,
      kernelSize: [3, 3],
      strides: [1, 1],
      dilations: [1, 1],
      groups: 1,
      padding: 'same',
      bias: true,
    },
    { type: 'relu', name: `${stageName}-relu`, inputs: [name] },
  ];
}

const stage = (name: string, input: string, filters: number): Layer[] => [
  ...convolution(name, input, filters),
  { type: 'maxPool', name, inputs: [`${name}-relu`], poolSize: [2, 2], strides: [2, 2], padding: 'valid' },
];

/** A small CNN (about 66,000 parameters on 28 x 28 x 1) for images [H,W,C] of at least 8 x 8 pixels. */
export function smallCnn(input: Network['input'], labelNames: string[]): Network {
  return {
    schemaVersion: 1,
    input,
    labelNames,
    layers: [
      ...stage('stage1', 'images', 16),
      ...stage('stage2', 'stage1', 32),
      ...stage('stage3', 'stage2', 64),
      ...convolution('stage4', 'stage3', 64),
      { type: 'flatten', name: 'flat', inputs: ['stage4-relu'] },
      { type: 'dense', name: 'logits', inputs: ['flat'], units: labelNames.length, bias: true },
    ],
    output: 'logits',
  };
}

/** He-normal kernels (He et al., arXiv 1502.01852, eq. 10) and zero biases for a network without batch norm. */
export function initialWeights(network: Network, seed: number): Map<string, HostTensor> {
  const random = randomSource(seed, 'initial weights');
  const weights = new Map<string, HostTensor>();
  for (const [name, shape] of weightShapes(network)) {
    const size = shape.reduce((product, axis) => product * axis, 1);
    const fanIn = size / shape.at(-1)!;
    const scale = shape.length === 1 ? 0 : Math.sqrt(2 / fanIn);
    weights.set(name, { dtype: 'F32', shape, data: random.normal(size).map((value) => value * scale) });
  }
  return weights;
}
