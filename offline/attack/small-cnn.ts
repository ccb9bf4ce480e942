/** The small victim architecture: four convolutions, three of them with pooling, and one dense layer. */
import type { Layer, Network } from '../../src/network/network.ts';

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
