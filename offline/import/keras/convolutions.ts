/** The convolutions of Keras as layers of the network. */
import * as z from 'zod';
import type { DraftWeight } from '../imported.ts';
import { activation } from './activations.ts';
import {
  activated,
  biased,
  channelsLast,
  layerClass,
  padding,
  pair,
  size,
  whole,
  type FileArray,
  type Part,
} from './layer-class.ts';

const convolution = {
  kernel_size: pair,
  strides: pair.default([1, 1]),
  padding: padding.default('valid'),
  data_format: channelsLast,
  dilation_rate: pair.default([1, 1]),
  use_bias: z.boolean().default(true),
  activation,
};

function convolutionPart(
  config: {
    kernel_size: [number, number];
    strides: [number, number];
    padding: 'valid' | 'same';
    dilation_rate: [number, number];
  },
  shape: { filters: number; groups: number },
  kernel: DraftWeight,
  bias: FileArray | undefined,
): Part {
  const { kernel_size: kernelSize, strides, padding: pad, dilation_rate: dilations } = config;
  const { filters, groups } = shape;
  return {
    body: { type: 'conv2d', filters, kernelSize, strides, dilations, groups, padding: pad, bias: bias !== undefined },
    weights: bias ? { kernel, bias: whole(bias) } : { kernel },
  };
}

/** A depthwise kernel [kh,kw,C,m] as one of C groups: filter c * m + i of the network is multiple i of channel c. */
function depthwisePart(
  config: Parameters<typeof convolutionPart>[0],
  kernel: FileArray,
  bias: FileArray | undefined,
): Part | string {
  const [height, width, channels, multiple] = kernel.shape;
  if (kernel.shape.length !== 4) return `expected a kernel [kh,kw,C,multiplier], got [${kernel.shape.join(',')}]`;
  const filters = channels! * multiple!;
  return convolutionPart(config, { filters, groups: channels! }, whole(kernel, [height!, width!, 1, filters]), bias);
}

/** Conv2D: kernels are [kh,kw,C/groups,filters], as in the network. */
export const conv2d = layerClass({
  config: z.object({ ...convolution, filters: size, groups: size.default(1) }),
  weights: (config) => biased(['kernel'], config.use_bias),
  parts: (config, [kernel, bias]) =>
    activated(convolutionPart(config, config, whole(kernel!), bias), config.activation),
});

/** DepthwiseConv2D. */
export const depthwiseConv2d = layerClass({
  config: z.object(convolution),
  weights: (config) => biased(['kernel'], config.use_bias),
  parts: (config, [kernel, bias]) => {
    const part = depthwisePart(config, kernel!, bias);
    return typeof part === 'string' ? part : activated(part, config.activation);
  },
});

/** SeparableConv2D: a depthwise convolution, and one of a single pixel behind it. */
export const separableConv2d = layerClass({
  config: z.object({ ...convolution, filters: size }),
  weights: (config) => biased(['depthwise_kernel', 'pointwise_kernel'], config.use_bias),
  parts: (config, [depthwise, pointwise, bias]) => {
    const first = depthwisePart(config, depthwise!, undefined);
    if (typeof first === 'string') return first;
    const one: [number, number] = [1, 1];
    const plain = { kernel_size: one, strides: one, dilation_rate: one, padding: 'valid' } as const;
    const second = convolutionPart(plain, { filters: config.filters, groups: 1 }, whole(pointwise!), bias);
    return [first, ...activated(second, config.activation)];
  },
});
