/**
 * The architectures of victims, for images [H,W,C] of at least 8 x 8 pixels.
 *
 * Small VGG: blocks of two 3x3 convolutions with batch norm and ELU, then pooling; 32, 64 and 128 filters. ResNet: He et al.,
 * arXiv 1512.03385, in its form for CIFAR (first convolution 3x3, no first pooling); shortcuts that change the shape are 1x1
 * convolutions with batch norm. PreAct-ResNet: He et al., arXiv 1603.05027. WRN-16-1: Zagoruyko and Komodakis, arXiv 1605.07146.
 */
import type { Layer, Network } from '../../src/network/network.ts';
import { smallCnn } from './small-cnn.ts';

export const ARCHITECTURES = ['small-cnn', 'small-vgg', 'resnet8', 'resnet18', 'preact-resnet18', 'wrn-16-1'] as const;
export type Architecture = (typeof ARCHITECTURES)[number];

/** The fewest pixels a side that every architecture takes. */
export const MIN_SIDE = 8;

/** A network of this architecture for these images and labels. */
export function buildNetwork(architecture: Architecture, input: Network['input'], labelNames: string[]): Network {
  if (architecture === 'small-cnn') return smallCnn(input, labelNames);
  const { layers, end } = BODIES[architecture]();
  const output = 'logits';
  const logits: Layer = { type: 'dense', name: output, inputs: [end], units: labelNames.length, bias: true };
  return { schemaVersion: 1, input, labelNames, layers: [...layers, logits], output };
}

/** The layers before the last, and the node [K] that they end in. */
type Body = { layers: Layer[]; end: string };

const BODIES = {
  'small-vgg': () => vgg([32, 64, 128]),
  resnet8: () => resnet([16, 32, 64], 1),
  resnet18: () => resnet([64, 128, 256, 512], 2),
  'preact-resnet18': () => preActivated([64, 128, 256, 512], 2),
  'wrn-16-1': () => preActivated([16, 32, 64], 2),
} satisfies Record<Exclude<Architecture, 'small-cnn'>, () => Body>;

function convolution(name: string, input: string, filters: number, size: number, stride: number): Layer {
  const side = (size - 1) / 2;
  return {
    type: 'conv2d',
    name: `${name}/conv`,
    inputs: [input],
    filters,
    kernelSize: [size, size],
    strides: [stride, stride],
    dilations: [1, 1],
    groups: 1,
    padding: { top: side, bottom: side, left: side, right: side },
    // Its batch norm has one.
    bias: false,
  };
}

/** Appends layers and says which node came out. */
function appendTo(layers: Layer[]) {
  const add = (layer: Layer): string => {
    layers.push(layer);
    return layer.name;
  };
  const conv = (name: string, input: string, filters: number, size = 3, stride = 1): string =>
    add(convolution(name, input, filters, size, stride));
  const norm = (name: string, input: string): string =>
    add({ type: 'batchNorm', name: `${name}/norm`, inputs: [input], epsilon: 1e-5 });
  return { add, conv, norm };
}

function vgg(widths: readonly number[]): Body {
  const layers: Layer[] = [];
  const { add, conv, norm } = appendTo(layers);
  let x = 'images';
  for (const [index, filters] of widths.entries()) {
    const stage = `stage${index + 1}`;
    for (const name of [`${stage}/first`, `${stage}/second`]) {
      x = add({ type: 'elu', name: `${name}/elu`, inputs: [norm(name, conv(name, x, filters))] });
    }
    x = add({
      type: 'maxPool',
      name: `${stage}/pool`,
      inputs: [x],
      poolSize: [2, 2],
      strides: [2, 2],
      padding: 'valid',
    });
  }
  return { layers, end: add({ type: 'flatten', name: 'flat', inputs: [x] }) };
}

/** What a block's place says of it. */
type Block = { name: string; filters: number; stride: number };

function blocksOf(widths: readonly number[], blocks: number): Block[] {
  return widths.flatMap((filters, stage) =>
    Array.from({ length: blocks }, (_, block) => ({
      name: `stage${stage + 1}/block${block + 1}`,
      filters,
      stride: stage > 0 && block === 0 ? 2 : 1,
    })),
  );
}

function resnet(widths: readonly number[], blocks: number): Body {
  const layers: Layer[] = [];
  const { add, conv, norm } = appendTo(layers);
  const relu = (name: string, input: string): string => add({ type: 'relu', name: `${name}/relu`, inputs: [input] });
  let x = relu('stem', norm('stem', conv('stem', 'images', widths[0]!)));
  for (const { name, filters, stride } of blocksOf(widths, blocks)) {
    const [one, two, across] = [`${name}/first`, `${name}/second`, `${name}/short`];
    const first = relu(one, norm(one, conv(one, x, filters, 3, stride)));
    const second = norm(two, conv(two, first, filters));
    const short = stride === 1 ? x : norm(across, conv(across, x, filters, 1, stride));
    x = relu(name, add({ type: 'add', name: `${name}/add`, inputs: [second, short] }));
  }
  return { layers, end: add({ type: 'globalAveragePool', name: 'pool', inputs: [x] }) };
}

function preActivated(widths: readonly number[], blocks: number): Body {
  const layers: Layer[] = [];
  const { add, conv, norm } = appendTo(layers);
  const activated = (name: string, input: string): string =>
    add({ type: 'relu', name: `${name}/relu`, inputs: [norm(name, input)] });
  let x = conv('stem', 'images', widths[0]!);
  for (const { name, filters, stride } of blocksOf(widths, blocks)) {
    const before = activated(`${name}/first`, x);
    const first = conv(`${name}/first`, before, filters, 3, stride);
    const second = conv(`${name}/second`, activated(`${name}/second`, first), filters);
    const short = stride === 1 ? x : conv(`${name}/short`, before, filters, 1, stride);
    x = add({ type: 'add', name: `${name}/add`, inputs: [second, short] });
  }
  const last = activated('last', x);
  return { layers, end: add({ type: 'globalAveragePool', name: 'pool', inputs: [last] }) };
}
