/**
 * Each type of layer in operators of ONNX opset 13. Channels are axis 1 of every value: an activation [H,W,C] of the network
 * is [B,C,H,W] here, and [L,C] is [B,C,L].
 */
import { sidesOf, type Sides } from '../../src/network/layers.ts';
import type { Layer, Shape } from '../../src/network/network.ts';
import { transpose } from '../import/imported.ts';

export type Attributes = Readonly<Record<string, number | readonly number[]>>;

/** Adds to the graph that is written. */
export type Graph = {
  /** Adds a node and returns the name of its output; a fractional attribute in `floats`. */
  run(operator: string, inputs: readonly string[], attributes?: Attributes, floats?: Attributes): string;
  /** Adds an initialiser, of float or int64 elements, and returns its name. */
  constant(name: string, shape: Shape, values: Float32Array | BigInt64Array): string;
};

/** What a layer is written from: names and shape (without the batch axis, channels last) of what it reads, and its weights. */
export type LayerSource = {
  inputs: readonly string[];
  shape: Shape;
  weight: (suffix: string) => Float32Array;
};

/** Adds the nodes of one layer to the graph; the last of them gives the layer's output. */
export function addLayer(graph: Graph, item: Layer, { inputs, shape, weight }: LayerSource): void {
  const { run, constant } = graph;
  const x = inputs[0]!;
  const channels = shape.at(-1)!;
  const vector = (name: string): string => constant(name, [weight(name).length], weight(name));
  const perChannel = (name: string, values: readonly number[]): string =>
    constant(name, [channels, ...shape.slice(1).map(() => 1)], Float32Array.from(values));
  switch (item.type) {
    case 'normalize':
      run('Div', [run('Sub', [x, perChannel('mean', item.mean)]), perChannel('std', item.std)]);
      return;
    case 'conv2d': {
      const { kernelSize, strides, dilations, groups } = item;
      const kernel = [...kernelSize, channels / groups, item.filters];
      const turned = transpose(weight('kernel'), kernel, [3, 2, 0, 1]);
      const weights = [
        constant(
          'kernel',
          [3, 2, 0, 1].map((axis) => kernel[axis]!),
          turned,
        ),
      ];
      if (item.bias) weights.push(vector('bias'));
      const reach: Shape = kernelSize.map((length, axis) => (length - 1) * dilations[axis]! + 1);
      const pads = padsOf(sidesOf(item.padding, reach as [number, number], strides, [1, ...shape]));
      run('Conv', [x, ...weights], { kernel_shape: kernelSize, strides, dilations, group: groups, pads });
      return;
    }
    case 'dense': {
      const kernel = constant('kernel', [channels, item.units], weight('kernel'));
      run('Gemm', [x, kernel, ...(item.bias ? [vector('bias')] : [])]);
      return;
    }
    case 'batchNorm': {
      const statistics = ['gamma', 'beta', 'mean', 'variance'].map(vector);
      run('BatchNormalization', [x, ...statistics], {}, { epsilon: item.epsilon });
      return;
    }
    case 'add':
      inputs.slice(1).reduce((total, input) => run('Add', [total, input]), x);
      return;
    case 'concat':
      run('Concat', inputs, { axis: 1 });
      return;
    case 'pad': {
      const { top, bottom, left, right } = item.padding;
      const pads = constant('pads', [8], integers([0, 0, top, left, 0, 0, bottom, right]));
      // onnxruntime 1.30 moves a padding of zeros into the max-pool behind it, where it loses against negative values; not one of -0.
      run('Pad', [x, pads, constant('zero', [], Float32Array.of(-0))]);
      return;
    }
    case 'maxPool':
    case 'averagePool': {
      const { poolSize, strides } = item;
      const pads = padsOf(sidesOf(item.padding, poolSize, strides, [1, ...shape]));
      const window = { kernel_shape: poolSize, strides, pads };
      if (item.type === 'maxPool') run('MaxPool', [x], window);
      else run('AveragePool', [x], { ...window, count_include_pad: 0 });
      return;
    }
    case 'globalAveragePool':
    case 'globalMaxPool': {
      const operator = item.type === 'globalMaxPool' ? 'GlobalMaxPool' : 'GlobalAveragePool';
      run('Flatten', [run(operator, [x])], { axis: 1 });
      return;
    }
    case 'selectChannels':
      run('Gather', [x, constant('channels', [item.channels.length], integers(item.channels))], { axis: 1 });
      return;
    case 'flatten':
      run('Flatten', [channelsLast(graph, x, shape)], { axis: 1 });
      return;
    case 'reshape': {
      // A zero keeps the axis: the batch has any size.
      const target = constant('shape', [item.shape.length + 1], integers([0, ...item.shape]));
      channelsFirst(graph, run('Reshape', [channelsLast(graph, x, shape), target]), item.shape);
      return;
    }
    case 'leakyRelu':
      run('LeakyRelu', [x], {}, { alpha: item.alpha });
      return;
    default:
      addActivation(graph, item.type, x);
  }
}

/** Activations that are one operator. */
const OPERATORS = { relu: 'Relu', elu: 'Elu', selu: 'Selu', sigmoid: 'Sigmoid', tanh: 'Tanh' };
type Activation = keyof typeof OPERATORS | 'relu6' | 'swish' | 'hardSwish' | 'gelu' | 'geluTanh' | 'softmax';

function addActivation({ run, constant }: Graph, type: Activation, x: string): void {
  const scalar = (name: string, value: number): string => constant(name, [], Float32Array.of(value));
  switch (type) {
    case 'relu6':
      run('Clip', [x, scalar('min', 0), scalar('max', 6)]);
      return;
    case 'swish':
      run('Mul', [x, run('Sigmoid', [x])]);
      return;
    case 'hardSwish':
      run('Mul', [x, run('HardSigmoid', [x], {}, { alpha: 1 / 6, beta: 0.5 })]);
      return;
    case 'gelu': {
      const share = run('Add', [run('Erf', [run('Div', [x, scalar('root', Math.SQRT2)])]), scalar('one', 1)]);
      run('Mul', [run('Mul', [x, share]), scalar('half', 0.5)]);
      return;
    }
    case 'geluTanh': {
      const cube = run('Mul', [run('Mul', [x, run('Mul', [x, x])]), scalar('cubic', 0.044715)]);
      const inner = run('Mul', [run('Add', [x, cube]), scalar('root', Math.sqrt(2 / Math.PI))]);
      const share = run('Add', [run('Tanh', [inner]), scalar('one', 1)]);
      run('Mul', [run('Mul', [x, share]), scalar('half', 0.5)]);
      return;
    }
    case 'softmax':
      run('Softmax', [x], { axis: 1 });
      return;
    default:
      run(OPERATORS[type], [x]);
  }
}

/** Moves the channels of a value behind its other axes; what has no others stays as it is. */
function channelsLast({ run }: Graph, x: string, shape: Shape): string {
  const others = shape.slice(1).map((_, axis) => axis + 2);
  return others.length ? run('Transpose', [x], { perm: [0, ...others, 1] }) : x;
}

/** Moves the last axis of a value before its others; what has no others stays as it is. */
export function channelsFirst({ run }: Graph, x: string, shape: Shape): string {
  const others = shape.slice(1).map((_, axis) => axis + 1);
  return others.length ? run('Transpose', [x], { perm: [0, shape.length, ...others] }) : x;
}

const padsOf = ({ top, left, bottom, right }: Sides): Shape => [top, left, bottom, right];
const integers = (values: readonly number[]): BigInt64Array => BigInt64Array.from(values, BigInt);
