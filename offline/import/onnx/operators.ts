/** The operators of ONNX that are imported, by name. */
import { constantOf } from './constant.ts';
import { constantOfShape, fold, isArithmetic } from './folding.ts';
import { erf, hardSigmoid } from './gates.ts';
import { asVector, emit } from './graph.ts';
import { add, batchNormalization, divide, gemm, matMul, multiply, subtract } from './linear.ts';
import {
  activated,
  constantAt,
  floatOf,
  intOf,
  optionalConstantAt,
  textOf,
  valueAndConstant,
  valueAt,
  wantedName,
  axesOf,
  type Activation,
  type Call,
  type Operator,
} from './operator.ts';
import { refuse } from './refusal.ts';
import { concat, flatten, reshape, shapeOf, slice, squeeze, take, transposeNode, unsqueeze } from './shapes.ts';
import type { Value } from './value.ts';
import { conv, globalPool, pad, pool, reduce } from './windows.ts';

const activate = (call: Call, type: Activation): Value => activated(call, valueAt(call, 0), type);

const activation =
  (type: Activation): Operator =>
  (call) =>
    activate(call, type);

/** An activation of the network with one choice of its numbers only. */
const fixedActivation =
  (type: Activation, numbers: Record<string, [expected: number, standard: number]>): Operator =>
  (call) => {
    for (const [name, [expected, standard]] of Object.entries(numbers)) {
      const got = floatOf(call, name, standard);
      if (Math.abs(got - expected) > 1e-6 * Math.abs(expected))
        refuse(`attribute ${name}: expected ${expected}, got ${got}`);
    }
    return activate(call, type);
  };

/** What bounds nothing: a limit at or beyond the largest float32. */
const UNBOUNDED = 3.4e38;

const clip: Operator = (call) => {
  const low = optionalConstantAt(call, 1)?.data[0] ?? floatOf(call, 'min', -Infinity);
  const high = optionalConstantAt(call, 2)?.data[0] ?? floatOf(call, 'max', Infinity);
  if (low === 0 && high === 6) return activate(call, 'relu6');
  if (low === 0 && high >= UNBOUNDED) return activate(call, 'relu');
  return refuse(`expected limits 0 and 6, or 0 and none, got ${low} and ${high}`);
};

/** The activations and the number of a node that has one of each, in either order. */
function withNumber(call: Call): [Value, number | undefined] {
  if (call.inputs.length !== 2) refuse('expected two inputs');
  const [value, { data }] = valueAndConstant(call);
  return [value, data.length === 1 ? data[0] : undefined];
}

/** Min with 6 of what was cut off below 0, and Max with 0, as some exporters write a ReLU and a ReLU6. */
const max: Operator = (call) => {
  const [value, limit] = withNumber(call);
  return limit === 0 ? activated(call, value, 'relu') : refuse(`expected 0, got ${limit}`);
};

const min: Operator = (call) => {
  const [value, limit] = withNumber(call);
  const layer = call.graph.layers.find(({ name }) => name === value.node);
  if (limit !== 6 || layer?.type !== 'relu') return refuse(`expected a ReLU limited to 6, got ${limit}`);
  return activated(call, { ...value, node: layer.inputs[0] }, 'relu6');
};

function leaky(call: Call, alpha: number): Value {
  const value = valueAt(call, 0);
  const node = emit(call.graph, wantedName(call), (name) => {
    return { type: 'leakyRelu', name, inputs: [value.node], alpha };
  });
  return { ...value, node };
}

const leakyRelu: Operator = (call) => leaky(call, floatOf(call, 'alpha', 0.01));

/** PRelu with one slope for all is a leaky ReLU. */
const prelu: Operator = (call) => {
  const { data, shape } = constantAt(call, 1);
  const [alpha = 0] = data;
  if (data.some((slope) => slope !== alpha)) refuse(`expected one slope for all channels, got [${shape.join(',')}]`);
  return leaky(call, alpha);
};

const hardSwish: Operator = (call) => activate(call, 'hardSwish');

const gelu: Operator = (call) => activate(call, textOf(call, 'approximate', 'none') === 'tanh' ? 'geluTanh' : 'gelu');

/** Softmax over the labels; before opset 13 its axis means all axes from there on. */
const softmax: Operator = (call) => {
  const value = valueAt(call, 0);
  const [axis] = axesOf([intOf(call, 'axis', call.graph.opset < 13 ? 1 : -1)], value.dims.length + 1);
  if (axis !== 1 || value.dims.length !== 1) refuse('expected a softmax over the labels [batch,labels]');
  const input = asVector(call.graph, value, wantedName(call));
  const node = emit(call.graph, wantedName(call), (name) => ({ type: 'softmax', name, inputs: [input] }));
  return { ...value, node };
};

/** Element types of onnx.proto that hold fractions: float, float16, double, bfloat16. */
const FRACTIONS = new Set([1, 10, 11, 16]);

/** Cast to another floating-point type, which changes nothing here; of constants also to whole numbers and back. */
const cast: Operator = (call) => {
  const [input] = call.inputs;
  const type = intOf(call, 'to', 0);
  const keepsFractions = FRACTIONS.has(type);
  if (input?.kind !== 'constant') {
    return keepsFractions ? identity(call) : refuse(`expected a cast to floating-point numbers, got ONNX type ${type}`);
  }
  const { shape, data } = input;
  if (data instanceof Float32Array === keepsFractions) return input;
  return constantOf(shape, keepsFractions ? Float32Array.from(data) : Float64Array.from(data, Math.trunc), null);
};

const identity: Operator = ({ inputs }) => inputs[0] ?? refuse('expected an input, got none');

const OPERATORS: Record<string, Operator> = {
  Add: add,
  AveragePool: pool('averagePool'),
  BatchNormalization: batchNormalization,
  Cast: cast,
  Clip: clip,
  Concat: concat,
  ConstantOfShape: () => refuse('expected a constant shape'),
  Conv: conv,
  Div: divide,
  Dropout: identity,
  Erf: erf,
  Elu: fixedActivation('elu', { alpha: [1, 1] }),
  Flatten: flatten,
  Gather: take,
  Gelu: gelu,
  Gemm: gemm,
  GlobalAveragePool: globalPool('globalAveragePool'),
  GlobalMaxPool: globalPool('globalMaxPool'),
  HardSigmoid: hardSigmoid,
  HardSwish: hardSwish,
  Identity: identity,
  LeakyRelu: leakyRelu,
  MatMul: matMul,
  Max: max,
  MaxPool: pool('maxPool'),
  Min: min,
  Mul: multiply,
  Neg: () => refuse('expected a constant'),
  PRelu: prelu,
  Pad: pad,
  Reciprocal: () => refuse('expected a constant'),
  ReduceMax: reduce('globalMaxPool'),
  ReduceMean: reduce('globalAveragePool'),
  Relu: activation('relu'),
  Reshape: reshape,
  Selu: fixedActivation('selu', { alpha: [1.6732632, 1.6732632], gamma: [1.0507009, 1.0507009] }),
  Shape: shapeOf,
  Sigmoid: activation('sigmoid'),
  Slice: slice,
  Softmax: softmax,
  Sqrt: () => refuse('expected a constant'),
  Squeeze: squeeze,
  Sub: subtract,
  Sum: add,
  Tanh: activation('tanh'),
  Transpose: transposeNode,
  Unsqueeze: unsqueeze,
};

/** Handled by the importer itself: they have several outputs, are read from the file, or are dropped at the end of a model. */
const SPECIAL = new Set(['Constant', 'Split', 'LogSoftmax']);

/** Whether an operator of the standard domain is known at all. */
export const isKnown = (opType: string, domain: string): boolean =>
  (domain === '' || domain === 'ai.onnx') && (Object.hasOwn(OPERATORS, opType) || SPECIAL.has(opType));

/** Imports a node with one output. */
export function importNode(call: Call): ReturnType<Operator> {
  const { opType } = call.node;
  const constants = call.inputs.length > 0 && call.inputs.every((input) => input?.kind === 'constant');
  if (constants && isArithmetic(opType)) {
    return fold(opType, constantAt(call, 0), optionalConstantAt(call, 1));
  }
  if (constants && opType === 'ConstantOfShape') return constantOfShape(constantAt(call, 0), call.held);
  return OPERATORS[opType]!(call);
}
