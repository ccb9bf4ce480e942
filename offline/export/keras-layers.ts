/**
 * Each type of layer in layers of Keras 2 that tfjs-layers has. What Keras lacks is put together from what it has, exactly:
 * a grouped convolution as one of all channels with zeros between the groups, padding of pools by their rows and columns.
 */
import { realShares, sidesOf, type Sides } from '../../src/network/layers.ts';
import type { Layer, Shape } from '../../src/network/network.ts';

/** A weight as Keras names and shapes it; its values are made when they are written. */
export type KerasWeight = { name: string; shape: Shape; values: () => Float32Array };

/** Adds a Keras layer that reads `inputs` and returns its name. */
export type Run = (
  className: string,
  inputs: readonly string[],
  config?: Readonly<Record<string, unknown>>,
  weights?: readonly KerasWeight[],
) => string;

/** What a layer is written from: names of what it reads, shapes without the batch axis, and its weights. */
export type LayerSource = {
  inputs: readonly string[];
  shape: Shape;
  outputShape: Shape;
  /** No value of the input lies below zero. */
  positive: boolean;
  weight: (suffix: string) => Float32Array;
};

type Pair = [number, number];
type Convolution = Extract<Layer, { type: 'conv2d' }>;
type Pool = Extract<Layer, { poolSize: unknown }>;

// Far above every activation, and far below the largest float32 even where a corner takes it twice.
const BIG = 1e30;
const EPSILON = 2 ** -10;

/** Adds the Keras layers of one layer; the last of them gives the layer's output. */
export function addLayer(run: Run, item: Layer, source: LayerSource): void {
  const { inputs, shape, weight } = source;
  const channels = shape.at(-1)!;
  const bias = (size: number): KerasWeight => ({ name: 'bias', shape: [size], values: () => weight('bias') });
  switch (item.type) {
    case 'normalize': {
      scaleLast(run, inputs[0]!, { mean: item.mean, scale: item.std.map((value) => 1 / value) });
      return;
    }
    case 'conv2d':
      addConvolution(run, item, source);
      return;
    case 'dense': {
      const kernel = { name: 'kernel', shape: [channels, item.units], values: () => weight('kernel') };
      const weights = item.bias ? [kernel, bias(item.units)] : [kernel];
      run('Dense', inputs, { units: item.units, use_bias: item.bias, activation: 'linear' }, weights);
      return;
    }
    case 'batchNorm': {
      const names = { gamma: 'gamma', beta: 'beta', mean: 'moving_mean', variance: 'moving_variance' };
      const statistics = Object.entries(names).map(([suffix, name]): KerasWeight => {
        return { name, shape: [channels], values: () => weight(suffix) };
      });
      run('BatchNormalization', inputs, { axis: -1, epsilon: item.epsilon }, statistics);
      return;
    }
    case 'add':
      run('Add', distinct(run, inputs));
      return;
    case 'concat':
      run('Concatenate', distinct(run, inputs), { axis: -1 });
      return;
    case 'pad':
      padZeros(run, inputs[0]!, item.padding);
      return;
    case 'maxPool':
    case 'averagePool':
      addPool(run, item, source);
      return;
    case 'globalAveragePool':
      run('GlobalAveragePooling2D', inputs);
      return;
    case 'globalMaxPool':
      run('GlobalMaxPooling2D', inputs);
      return;
    case 'selectChannels':
      addSelection(run, inputs, shape, item.channels);
      return;
    case 'flatten':
    case 'reshape':
      // Flatten of Keras takes no vectors.
      if (item.type === 'flatten' && shape.length > 1) run('Flatten', inputs);
      else run('Reshape', inputs, { target_shape: source.outputShape });
      return;
    case 'leakyRelu':
      run('LeakyReLU', inputs, { alpha: item.alpha });
      return;
    case 'hardSwish': {
      // hard_sigmoid of Keras 2 has another slope.
      const raised = run('Rescaling', inputs, { scale: 1, offset: 3 });
      const clipped = run('Activation', [raised], { activation: 'relu6' });
      run('Multiply', [inputs[0]!, run('Rescaling', [clipped], { scale: 1 / 6, offset: 0 })]);
      return;
    }
    case 'geluTanh': {
      // tfjs-layers has it as `gelu_new`, but cannot read that name from a file.
      const x = inputs[0]!;
      const copies = distinct(run, [x, x, x]);
      const cube = run('Rescaling', [run('Multiply', copies)], { scale: 0.044715, offset: 0 });
      const inner = run('Rescaling', [run('Add', [x, cube])], { scale: Math.sqrt(2 / Math.PI), offset: 0 });
      const tanh = run('Activation', [inner], { activation: 'tanh' });
      run('Multiply', [x, run('Rescaling', [tanh], { scale: 0.5, offset: 0.5 })]);
      return;
    }
    default:
      run('Activation', inputs, { activation: item.type });
  }
}

/** tfjs-layers frees an input that a layer reads twice too early: repeated ones go through a layer that changes nothing. */
const distinct = (run: Run, inputs: readonly string[]): string[] =>
  inputs.map((input, index) =>
    inputs.indexOf(input) === index ? input : run('Activation', [input], { activation: 'linear' }),
  );

function addConvolution(run: Run, item: Convolution, { inputs, shape, weight }: LayerSource): void {
  const { kernelSize, strides, dilations, groups, filters } = item;
  const channels = shape[2]!;
  const depthwise = groups > 1 && groups === channels;
  const reach = kernelSize.map((length, axis) => (length - 1) * dilations[axis]! + 1) as Pair;
  // tfjs-layers has neither dilated depthwise convolutions nor convolutions both dilated and strided: there the kernel itself is dilated.
  const spread = depthwise || strides.some((step) => step > 1);
  const [height, width] = spread ? reach : kernelSize;
  const kernelShape = depthwise ? [height, width, channels, filters / channels] : [height, width, channels, filters];
  const kernel: KerasWeight = {
    name: depthwise ? 'depthwise_kernel' : 'kernel',
    shape: kernelShape,
    values: () => wholeKernel(item, weight('kernel'), channels, spread ? dilations : [1, 1], depthwise),
  };
  const weights = item.bias ? [kernel, { name: 'bias', shape: [filters], values: () => weight('bias') }] : [kernel];
  const { x, padding } = padded(run, inputs[0]!, item.padding, reach, strides, shape);
  const config = {
    kernel_size: [height, width],
    strides,
    padding,
    dilation_rate: spread ? [1, 1] : dilations,
    use_bias: item.bias,
    activation: 'linear',
  };
  if (depthwise) run('DepthwiseConv2D', [x], { ...config, depth_multiplier: filters / channels }, weights);
  else run('Conv2D', [x], { ...config, filters }, weights);
}

/**
 * The kernel [kh,kw,C/groups,filters], spread with zeros by the steps given, and, unless it is depthwise, with zeros for
 * the channels outside of a filter's group: [kh',kw',C,filters].
 */
function wholeKernel(
  { kernelSize: [height, width], groups, filters }: Convolution,
  values: Float32Array,
  channels: number,
  [down, across]: Pair,
  depthwise: boolean,
): Float32Array {
  const depth = depthwise ? 1 : channels;
  const own = channels / groups;
  const wholeWidth = (width - 1) * across + 1;
  const whole = new Float32Array(((height - 1) * down + 1) * wholeWidth * depth * filters);
  let from = 0;
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const place = (row * down * wholeWidth + column * across) * depth;
      for (let channel = 0; channel < own; channel++) {
        for (let filter = 0; filter < filters; filter++, from++) {
          const group = depthwise ? 0 : Math.floor((filter * groups) / filters);
          whole[(place + group * own + channel) * filters + filter] = values[from]!;
        }
      }
    }
  }
  return whole;
}

function addPool(run: Run, item: Pool, { inputs, shape, outputShape, positive }: LayerSource): void {
  const { poolSize, strides } = item;
  const [height, width] = shape as [number, number, number];
  const { x, padding } = padded(run, inputs[0]!, item.padding, poolSize, strides, shape);
  const { top, bottom, left, right } = sidesOf(item.padding, poolSize, strides, [1, ...shape]);
  const config = { pool_size: poolSize, strides, padding };
  const zeros = x !== inputs[0];
  if (item.type === 'maxPool') {
    // Zeros win against negative values, unless there are none.
    const lowered = zeros && !positive ? scaleImage(run, x, lower(top, height, bottom), lower(left, width, right)) : x;
    run('MaxPooling2D', [lowered], config);
    return;
  }
  const averages = run('AveragePooling2D', [x], config);
  if (!zeros) return;
  const down = realShares(outputShape[0]!, height, poolSize[0], strides[0], top);
  const across = realShares(outputShape[1]!, width, poolSize[1], strides[1], left);
  scaleImage(run, averages, raise(down), raise(across));
}

/** Along one axis: puts what lies before and after `size` places below every value. */
function lower(before: number, size: number, after: number): Affine {
  const isReal = (index: number): boolean => index >= before && index < before + size;
  const mean = Array.from({ length: before + size + after }, (_, index) => (isReal(index) ? 0 : BIG));
  return { mean, scale: mean.map(() => 1) };
}

/** Along one axis: makes averages over all places of a window into averages over these shares of it. */
const raise = (shares: readonly number[]): Affine => ({
  mean: shares.map(() => 0),
  scale: shares.map((share) => 1 / share),
});

/** Pads with zeros where Keras's own padding is another one. */
function padded(
  run: Run,
  x: string,
  padding: Convolution['padding'],
  window: Pair,
  strides: Pair,
  shape: Shape,
): { x: string; padding: 'same' | 'valid' } {
  const image = [1, ...shape];
  const sides = sidesOf(padding, window, strides, image);
  if (Object.values(sides).every((side) => side === 0)) return { x, padding: 'valid' };
  const same = sidesOf('same', window, strides, image);
  const equal = (Object.keys(same) as (keyof Sides)[]).every((side) => same[side] === sides[side]);
  // With strides longer than the window the wasm backend of tfjs answers zeros for 'same'.
  if (equal && strides.every((step, axis) => step <= window[axis]!)) return { x, padding: 'same' };
  return { x: padZeros(run, x, sides), padding: 'valid' };
}

const padZeros = (run: Run, x: string, { top, bottom, left, right }: Sides): string =>
  run('ZeroPadding2D', [x], {
    padding: [
      [top, bottom],
      [left, right],
    ],
  });

/** `(x - mean) * scale` for each place of an axis. */
type Affine = { mean: readonly number[]; scale: readonly number[] };

/** Scales along the last axis; variance and epsilon add up to exactly 1, so that they change nothing. */
function scaleLast(run: Run, x: string, { mean, scale }: Affine): string {
  const vector = (name: string, values: readonly number[]): KerasWeight => {
    return { name, shape: [values.length], values: () => Float32Array.from(values) };
  };
  const variance = vector(
    'moving_variance',
    mean.map(() => 1 - EPSILON),
  );
  const weights = [vector('gamma', scale), vector('moving_mean', mean), variance];
  return run('BatchNormalization', [x], { axis: -1, epsilon: EPSILON, center: false }, weights);
}

/** Scales an image by its rows, then by its columns: each is turned to the last axis, and three turns are a whole one. */
function scaleImage(run: Run, x: string, rows: Affine, columns: Affine): string {
  const turn = (input: string): string => run('Permute', [input], { dims: [2, 3, 1] });
  return turn(scaleLast(run, turn(scaleLast(run, turn(x), rows)), columns));
}

function addSelection(run: Run, inputs: readonly string[], shape: Shape, chosen: readonly number[]): void {
  const channels = shape.at(-1)!;
  const values = (): Float32Array => {
    const kernel = new Float32Array(channels * chosen.length);
    chosen.forEach((channel, index) => (kernel[channel * chosen.length + index] = 1));
    return kernel;
  };
  const linear = { use_bias: false, activation: 'linear' };
  const matrix = [channels, chosen.length];
  if (shape.length < 3) {
    run('Dense', inputs, { units: chosen.length, ...linear }, [{ name: 'kernel', shape: matrix, values }]);
    return;
  }
  const config = { filters: chosen.length, kernel_size: [1, 1], strides: [1, 1], padding: 'valid', ...linear };
  run('Conv2D', inputs, config, [{ name: 'kernel', shape: [1, 1, ...matrix], values }]);
}
