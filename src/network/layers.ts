/** Each type of layer in tfjs-core kernels, few and basic: a worker bundles only the kernels that are registered there. */
import {
  add,
  avgPool,
  concat,
  conv2d,
  depthwiseConv2d,
  div,
  elu,
  erf,
  fused,
  leakyRelu,
  matMul,
  max,
  maxPool,
  mean,
  mul,
  pad,
  relu,
  relu6,
  reshape,
  selu,
  sigmoid,
  slice,
  softmax,
  split,
  sqrt,
  sub,
  tanh,
  tensor1d,
  tensor4d,
  type Tensor,
  type Tensor2D,
  type Tensor4D,
} from '@tensorflow/tfjs-core';
import type { Layer, Shape } from './network.ts';

type Convolution = Extract<Layer, { type: 'conv2d' }>;
type Pool = Extract<Layer, { poolSize: unknown }>;
type Pair = [number, number];
/** Padding in pixels. */
export type Sides = { top: number; bottom: number; left: number; right: number };
/** What a fused kernel applies after the bias. */
export type Activation = { activation: 'linear' | 'relu' | 'relu6' | 'elu' | 'leakyrelu'; leakyreluAlpha: number };

const LOWEST_FLOAT32 = -3.4028234663852886e38;

/**
 * The output of one layer, from its inputs and its weights by their suffix (`kernel`, `bias`, ...). With `fusion` a
 * convolution or dense layer runs in one kernel with bias and activation; without, in plain kernels, as gradients need it.
 */
export function runLayer(
  item: Layer,
  inputs: readonly Tensor[],
  weight: (suffix: string) => Tensor,
  fusion: Activation | undefined,
): Tensor {
  const x = inputs[0]!;
  const images = x as Tensor4D;
  switch (item.type) {
    case 'normalize':
      return div(sub(x, tensor1d(item.mean)), tensor1d(item.std));
    case 'conv2d':
      return convolve(item, images, weight('kernel') as Tensor4D, item.bias ? weight('bias') : undefined, fusion);
    case 'dense':
      return dense(x as Tensor2D, weight('kernel') as Tensor2D, item.bias ? weight('bias') : undefined, fusion);
    case 'batchNorm': {
      const scale = div(weight('gamma'), sqrt(add(weight('variance'), item.epsilon)));
      return add(mul(x, scale), sub(weight('beta'), mul(weight('mean'), scale)));
    }
    case 'add':
      return inputs.reduce((total, input) => add(total, input));
    case 'concat':
      return concat([...inputs], -1);
    case 'selectChannels':
      return concat(
        runsOf(item.channels).map(([first, count]) => takeChannels(x, first, count)),
        -1,
      );
    case 'pad':
      // A new tensor even where no side is padded, since forward frees each node by itself.
      return pad(images, explicitPadding(item.padding));
    case 'maxPool':
      return maxPool(padImages(images, poolSides(item, x), LOWEST_FLOAT32), item.poolSize, item.strides, 'valid');
    case 'averagePool':
      return averagePool(item, images);
    case 'globalAveragePool':
      return mean(x, [1, 2]);
    case 'globalMaxPool':
      return max(x, [1, 2]);
    case 'flatten':
      return reshape(x, [x.shape[0]!, x.shape.slice(1).reduce((total, axis) => total * axis, 1)]);
    case 'reshape':
      return reshape(x, [x.shape[0]!, ...item.shape]);
    case 'leakyRelu':
      return leakyRelu(x, item.alpha);
    default:
      return ACTIVATIONS[item.type](x);
  }
}

/** Channels as runs of neighbours: the first of each, and how many. */
function runsOf(channels: readonly number[]): Pair[] {
  const runs: Pair[] = [];
  for (const channel of channels) {
    const last = runs.at(-1);
    if (last && channel === last[0] + last[1]) last[1] += 1;
    else runs.push([channel, 1]);
  }
  return runs;
}

const takeChannels = (x: Tensor, first: number, count: number): Tensor =>
  slice(x, [...x.shape.slice(1).map(() => 0), first], [...x.shape.slice(0, -1), count]);

const ACTIVATIONS = {
  relu,
  relu6,
  elu,
  selu,
  sigmoid,
  tanh,
  softmax: (x: Tensor) => softmax(x),
  swish: (x: Tensor) => mul(x, sigmoid(x)),
  hardSwish: (x: Tensor) => mul(x, mul(relu6(add(x, 3)), 1 / 6)),
  gelu: (x: Tensor) => mul(mul(x, 0.5), add(erf(mul(x, Math.SQRT1_2)), 1)),
  geluTanh: (x: Tensor) => {
    const cubic = add(x, mul(mul(x, mul(x, x)), 0.044715));
    return mul(mul(x, 0.5), add(tanh(mul(cubic, Math.sqrt(2 / Math.PI))), 1));
  },
};

function dense(x: Tensor2D, kernel: Tensor2D, bias: Tensor | undefined, fusion: Activation | undefined): Tensor {
  if (fusion) return fused.matMul({ a: x, b: kernel, ...(bias && { bias }), ...fusion });
  const product = matMul(x, kernel);
  return bias ? add(product, bias) : product;
}

function convolve(
  item: Convolution,
  x: Tensor4D,
  kernel: Tensor4D,
  bias: Tensor | undefined,
  fusion: Activation | undefined,
): Tensor {
  const channels = x.shape[3];
  if (item.groups === 1 || item.groups === channels) return convolveGroup(item, x, kernel, bias, fusion);
  const kernels = split<Tensor4D>(kernel, item.groups, 3);
  const biases = bias && split(bias, item.groups, 0);
  const parts = split<Tensor4D>(x, item.groups, 3).map((part, group) =>
    convolveGroup({ ...item, groups: 1 }, part, kernels[group]!, biases?.[group], fusion),
  );
  return concat(parts, 3);
}

/** Convolves with one group of all channels, or with one group for each channel. */
function convolveGroup(
  item: Convolution,
  x: Tensor4D,
  kernel: Tensor4D,
  bias: Tensor | undefined,
  fusion: Activation | undefined,
): Tensor {
  const { strides, groups, padding } = item;
  // tfjs has neither gradients of dilated convolutions nor convolutions both dilated and strided: there the kernel itself is dilated.
  const spread = item.dilations.some((step) => step > 1) && (!fusion || strides.some((step) => step > 1));
  const dilations: Pair = spread ? [1, 1] : item.dilations;
  const dilated = spread ? dilate(kernel, item.dilations) : kernel;
  const [height, width, , filters] = dilated.shape;
  const depthwise = groups > 1;
  const filter = depthwise ? (reshape(dilated, [height, width, groups, filters / groups]) as Tensor4D) : dilated;
  const reach: Pair = [(height - 1) * dilations[0] + 1, (width - 1) * dilations[1] + 1];
  // Always in numbers: for 'same' with strides longer than the kernel the wasm backend answers zeros. The fused depthwise
  // kernels take numbers like all others; only their declared type leaves them out.
  const sides = explicitPadding(sidesOf(padding, reach, strides, x.shape)) as unknown as 'valid';
  if (fusion) {
    const convolution = depthwise ? fused.depthwiseConv2d : fused.conv2d;
    return convolution({ x, filter, strides, pad: sides, dilations, ...(bias && { bias }), ...fusion });
  }
  const convolution = depthwise ? depthwiseConv2d : conv2d;
  const product = convolution(x, filter, strides, sides, 'NHWC', dilations);
  return bias ? add(product, bias) : product;
}

/** Spreads a kernel [kh,kw,C,F] with zeros to [(kh-1)*dy+1, (kw-1)*dx+1, C, F]. */
function dilate(kernel: Tensor4D, [dy, dx]: readonly [number, number]): Tensor4D {
  const [height, width, channels, filters] = kernel.shape;
  const rows = pad(reshape(kernel, [height, 1, width * channels * filters]), [
    [0, 0],
    [0, dy - 1],
    [0, 0],
  ]);
  const columns = pad(reshape(rows, [height * dy, width, 1, channels * filters]), [
    [0, 0],
    [0, 0],
    [0, dx - 1],
    [0, 0],
  ]);
  const whole = reshape(columns, [height * dy, width * dx, channels, filters]) as Tensor4D;
  return slice(whole, [0, 0, 0, 0], [(height - 1) * dy + 1, (width - 1) * dx + 1, channels, filters]);
}

const poolSides = ({ padding, poolSize, strides }: Pool, x: Tensor): Sides =>
  sidesOf(padding, poolSize, strides, x.shape);

/** Averages over the real positions of each window: the zeros of the padding are summed but not counted. */
function averagePool(item: Pool, x: Tensor4D): Tensor {
  const sides = poolSides(item, x);
  const sums = avgPool(padImages(x, sides, 0), item.poolSize, item.strides, 'valid');
  if (!isPadded(sides)) return sums;
  const [, rows, columns] = sums.shape;
  const vertical = realShares(rows, x.shape[1], item.poolSize[0], item.strides[0], sides.top);
  const horizontal = realShares(columns, x.shape[2], item.poolSize[1], item.strides[1], sides.left);
  const shares = vertical.flatMap((down) => horizontal.map((across) => down * across));
  return div(sums, tensor4d(shares, [1, rows, columns, 1]));
}

/** Of each window along one axis, the share that lies on the input and not on its padding. */
export function realShares(windows: number, size: number, window: number, stride: number, before: number): number[] {
  return Array.from({ length: windows }, (_, index) => {
    const start = index * stride - before;
    return (Math.min(start + window, size) - Math.max(start, 0)) / window;
  });
}

/** Padding in numbers, for windows of this reach over images [B,H,W,C]; `same` is TensorFlow's: just enough, the odd one after. */
export function sidesOf(padding: Convolution['padding'], window: Pair, strides: Pair, shape: Shape): Sides {
  if (typeof padding === 'object') return padding;
  const total = (axis: 0 | 1): number => {
    const size = shape[axis + 1]!;
    const needed = (Math.ceil(size / strides[axis]) - 1) * strides[axis] + window[axis] - size;
    return padding === 'same' ? Math.max(needed, 0) : 0;
  };
  const [rows, columns] = [total(0), total(1)];
  const [top, left] = [Math.floor(rows / 2), Math.floor(columns / 2)];
  return { top, bottom: rows - top, left, right: columns - left };
}

const isPadded = (sides: Sides): boolean => Object.values(sides).some((side) => side > 0);

const explicitPadding = ({ top, bottom, left, right }: Sides): [Pair, Pair, Pair, Pair] => [
  [0, 0],
  [top, bottom],
  [left, right],
  [0, 0],
];

function padImages(x: Tensor4D, sides: Sides, value: number): Tensor4D {
  return isPadded(sides) ? pad(x, explicitPadding(sides), value) : x;
}
