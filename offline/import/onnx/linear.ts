/** Operators with weights on every position alike: dense layers, batch norm, and arithmetic with constants or other activations. */
import { constantOf, transposeConstant, type Constant } from './constant.ts';
import {
  addWeight,
  asImage,
  asVector,
  emit,
  freshValue,
  imageDimsOf,
  inNodeOrder,
  isPixels,
  perChannel,
  type Graph,
  type Known,
} from './graph.ts';
import {
  constantAt,
  floatOf,
  intOf,
  optionalConstantAt,
  valueAndConstant,
  valueAt,
  wantedName,
  type Call,
  type Operator,
} from './operator.ts';
import { refuse } from './refusal.ts';
import { sameLayout, type Value } from './value.ts';
import { fold } from './folding.ts';
import { addToGate, multiplyGate } from './gates.ts';

/** Gemm with activations [B,K]: A B + C, both factors 1. */
export const gemm: Operator = (call) => {
  if (intOf(call, 'transA', 0)) refuse('attribute transA: expected 0');
  const factors = [floatOf(call, 'alpha', 1), call.inputs[2] ? floatOf(call, 'beta', 1) : 1];
  if (factors.some((factor) => factor !== 1)) refuse(`expected alpha 1 and beta 1, got ${factors.join(' and ')}`);
  const matrix = constantAt(call, 1);
  const kernel = intOf(call, 'transB', 0) ? transposeConstant(matrix, [1, 0]) : matrix;
  return dense(call, kernel, optionalConstantAt(call, 2));
};

/** MatMul of activations [B,K] with a constant. */
export const matMul: Operator = (call) => {
  return dense(call, constantAt(call, 1), undefined);
};

function dense(call: Call, kernel: Constant, bias: Constant | undefined): Value {
  const { graph } = call;
  const value = valueAt(call, 0);
  if (kernel.shape.length !== 2) refuse(`expected a matrix of 2 axes, got [${kernel.shape.join(',')}]`);
  const [rows, units] = kernel.shape as [number, number];
  const input = asVector(graph, value, wantedName(call));
  if (graph.shapes.get(input)![0] !== rows) refuse(`a matrix of ${rows} rows on ${graph.shapes.get(input)![0]} values`);
  const weights = [{ suffix: 'kernel', constant: inNodeOrder(kernel, value), shape: [rows, units] }];
  if (bias) weights.push({ suffix: 'bias', constant: perChannel(bias, units), shape: [units] });
  const node = emit(
    graph,
    wantedName(call),
    (name) => ({ type: 'dense', name, inputs: [input], units, bias: bias !== undefined }),
    weights,
  );
  return freshValue(graph, node);
}

/** BatchNormalization in inference mode, on [B,C,H,W] or [B,C]. */
export const batchNormalization: Operator = (call) => {
  const { graph } = call;
  if (intOf(call, 'training_mode', 0)) refuse('attribute training_mode: expected 0 (export the model for inference)');
  const given = valueAt(call, 0);
  const wanted = wantedName(call);
  const value = given.dims.length === 1 ? given : freshValue(graph, asImage(graph, given, wanted));
  const epsilon = floatOf(call, 'epsilon', 1e-5);
  const [gamma, beta, mean, variance] = [1, 2, 3, 4].map((position) => constantAt(call, position));
  return normalizeWith(graph, value, wanted, { gamma, beta, mean, variance } as Statistics, epsilon);
};

type Statistics = { gamma: Constant; beta: Constant; mean: Constant; variance: Constant };

function normalizeWith(graph: Graph, value: Value, wanted: string, statistics: Statistics, epsilon: number): Value {
  const vector = value.dims.length === 1;
  const input = vector ? asVector(graph, value, wanted) : value.node;
  const channels = graph.shapes.get(input)!.at(-1)!;
  const weights = Object.entries(statistics).map(([suffix, constant]) => {
    if (constant.data.length !== channels)
      refuse(`expected ${channels} numbers for its ${suffix}, got ${constant.data.length}`);
    return { suffix, constant: vector ? inNodeOrder(constant, value) : constant, shape: [channels] };
  });
  const node = emit(graph, wanted, (name) => ({ type: 'batchNorm', name, inputs: [input], epsilon }), weights);
  return { ...value, node };
}

/** Add and Sum: of activations, or of activations and a constant. */
export const add: Operator = (call) => {
  const { graph, inputs } = call;
  if (inputs.every((input) => input?.kind === 'value')) return sum(call, inputs as readonly Value[]);
  if (inputs.length !== 2) refuse('expected activations only, or two inputs');
  const gate = addToGate(call);
  if (gate) return gate;
  const [value, constant, position] = valueAndConstant(call);
  return addBias(graph, call, value, constant, position) ?? affine(call, value, undefined, constant);
};

function sum(call: Call, values: readonly Value[]): Value {
  const { graph } = call;
  const wanted = wantedName(call);
  const [first] = values;
  if (!first) return refuse('expected inputs, got none');
  if (values.length === 1) return first;
  const alike = values.every((value) => {
    return sameLayout(value, first) && graph.shapes.get(value.node)!.join() === graph.shapes.get(first.node)!.join();
  });
  const nodes = alike ? values.map(({ node }) => node) : values.map((value) => asImage(graph, value, wanted));
  const node = emit(graph, wanted, (name) => ({ type: 'add', name, inputs: nodes }));
  return alike ? { ...first, node } : freshValue(graph, node);
}

/** Gives a convolution or dense layer the bias that is added to it, if nothing else reads the layer. */
function addBias(graph: Graph, call: Call, value: Value, constant: Constant, position: number): Value | undefined {
  const layer = graph.layers.findLast(({ name }) => name === value.node);
  if ((layer?.type !== 'conv2d' && layer?.type !== 'dense') || layer.bias || !call.isOnlyReader(position))
    return undefined;
  const channels = graph.shapes.get(value.node)!.at(-1)!;
  if (!alongChannels(graph, constant, value, channels)) return undefined;
  const bias = perChannel(constant, channels);
  addWeight(graph, layer.name, { suffix: 'bias', constant: bias, shape: [channels] });
  graph.layers[graph.layers.indexOf(layer)] = { ...layer, bias: true };
  return value;
}

/** Whether a constant broadcasts to one number for each channel, or one for all. */
function alongChannels(graph: Graph, constant: Constant, value: Value, channels: number): boolean {
  const { data, shape } = constant;
  if (data.length === 1) return shape.length <= value.dims.length + 1;
  if (data.length !== channels) return false;
  const dim = value.dims.length === 1 ? 0 : imageDimsOf(graph, value)?.channels;
  return dim !== undefined && shape[shape.length - (value.dims.length - dim)] === channels;
}

/** Sub: of a constant, or from a constant. */
export const subtract: Operator = (call) => {
  const [value, constant, position] = valueAndConstant(call);
  const minusOne = scalar(-1);
  if (position === 0) return affine(call, value, undefined, fold('Mul', constant, minusOne));
  return affine(call, value, minusOne, constant);
};

/** Mul by a constant, or of activations with a function of them. */
export const multiply: Operator = (call) => {
  const gated = multiplyGate(call);
  if (gated) return gated;
  const [value, constant] = valueAndConstant(call);
  return affine(call, value, constant, undefined);
};

/** Div by a constant. */
export const divide: Operator = (call) => {
  return affine(call, valueAt(call, 0), fold('Reciprocal', constantAt(call, 1)), undefined);
};

const scalar = (value: number): Constant => constantOf([], Float32Array.of(value), null);

/** An epsilon and a variance that add up to exactly 1, for a batch norm that only scales and shifts. */
const EPSILON = 2 ** -10;

/** scale * x + shift for each channel or for all: a normalisation of pixels where it can be one, else a batch norm. */
function affine(call: Call, value: Value, scale: Constant | undefined, shift: Constant | undefined): Known {
  const { graph } = call;
  const wanted = wantedName(call);
  const channels = graph.shapes.get(value.node)!.at(-1)!;
  for (const constant of [scale, shift]) {
    if (constant && !alongChannels(graph, constant, value, channels)) {
      refuse(`expected a constant of one number, or one a channel (${channels}), got [${constant.shape.join(',')}]`);
    }
  }
  const filled = (constant: Constant | undefined, fallback: number): Constant =>
    perChannel(constant ?? scalar(fallback), channels);
  const [gamma, beta] = [filled(scale, 1), filled(shift, 0)];
  if (isPixels(graph, value.node) && gamma.data.every((factor) => factor > 0)) {
    const node = emit(graph, wanted, (name) => ({
      type: 'normalize',
      name,
      inputs: [value.node],
      mean: Array.from(beta.data, (offset, channel) => -offset / gamma.data[channel]!),
      std: Array.from(gamma.data, (factor) => 1 / factor),
    }));
    return { ...value, node };
  }
  const statistics = { gamma, beta, mean: filled(undefined, 0), variance: perChannel(scalar(1 - EPSILON), channels) };
  return normalizeWith(graph, value, wanted, statistics, EPSILON);
}
