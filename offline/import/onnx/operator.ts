/** What an operator's import is given: its node, its inputs as far as they are known, and its attributes. */
import type { Layer } from '../../../src/network/network.ts';
import { numbersOf, type Constant } from './constant.ts';
import { emit, type Gate, type Graph, type Known } from './graph.ts';
import type { OnnxAttribute, OnnxNode } from './proto.ts';
import { refuse } from './refusal.ts';
import type { Value } from './value.ts';

export type Call = {
  graph: Graph;
  node: OnnxNode;
  inputs: readonly (Known | undefined)[];
  /** Whether nothing but this node reads its input at this position. */
  isOnlyReader: (position: number) => boolean;
  /** The size of the batch as the file fixes it; NaN where it leaves it open. */
  batch: number;
  /** The tensor that the node itself holds, of Constant and ConstantOfShape. */
  held: Constant | undefined;
};

/** Imports one node: its first output. */
export type Operator = (call: Call) => Known;

/** The name to give to a layer made of this node. */
export const wantedName = ({ node }: Call): string => node.name || node.output[0] || node.opType;

function attribute({ node }: Call, name: string): OnnxAttribute | undefined {
  return node.attribute.find((item) => item.name === name);
}

/** A whole number of an attribute. */
export function intOf(call: Call, name: string, fallback: number): number {
  const value = attribute(call, name)?.i ?? fallback;
  return Number.isSafeInteger(value) ? value : refuse(`attribute ${name}: expected a whole number, got ${value}`);
}

/** A number of an attribute. */
export const floatOf = (call: Call, name: string, fallback: number): number => attribute(call, name)?.f ?? fallback;

/** The text of an attribute. */
export function textOf(call: Call, name: string, fallback: string): string {
  const bytes = attribute(call, name)?.s;
  return bytes ? Buffer.from(bytes).toString('utf8').slice(0, 200) : fallback;
}

/** The whole numbers of an attribute; undefined if it is not there. */
export function intsOf(call: Call, name: string): number[] | undefined {
  const values = attribute(call, name)?.ints;
  if (values && !values.every(Number.isInteger)) refuse(`attribute ${name}: expected whole numbers`);
  return values;
}

/** The tensor of an attribute, or null. */
export const tensorOf = (call: Call, name: string): OnnxAttribute['t'] => attribute(call, name)?.t ?? null;

/** The input at this position as activations. */
export function valueAt({ inputs }: Call, position: number): Value {
  const input = inputs[position];
  return input?.kind === 'value' ? input : refuse(`expected activations as input ${position}, got ${describe(input)}`);
}

/** The input at this position as a constant. */
export function constantAt({ inputs }: Call, position: number): Constant {
  const input = inputs[position];
  return input?.kind === 'constant'
    ? input
    : refuse(`expected a constant as input ${position}, got ${describe(input)}`);
}

/** The input at this position as a constant, if it is there at all. */
export const optionalConstantAt = (call: Call, position: number): Constant | undefined =>
  call.inputs[position] ? constantAt(call, position) : undefined;

function describe(input: Known | undefined): string {
  if (!input) return 'nothing';
  const names: Record<Exclude<Known['kind'], 'gate'> | Gate['kind'], string> = {
    value: 'activations',
    constant: 'a constant',
    gate: 'a hard sigmoid',
  };
  return names[input.kind];
}

/** The activations and the constant of a node that has one of each, in either order, and the position of the activations. */
export function valueAndConstant(call: Call): [Value, Constant, number] {
  const position = call.inputs[0]?.kind === 'value' ? 0 : 1;
  return [valueAt(call, position), constantAt(call, 1 - position), position];
}

/** The numbers of an input, or of an attribute in older opsets. */
export function listOf(call: Call, position: number, name: string): number[] | undefined {
  const given = optionalConstantAt(call, position);
  return given ? numbersOf(given) : intsOf(call, name);
}

/** The activations that have no numbers of their own. */
export type Activation = Extract<
  Layer['type'],
  'relu' | 'relu6' | 'elu' | 'selu' | 'sigmoid' | 'tanh' | 'swish' | 'hardSwish' | 'gelu' | 'geluTanh'
>;

/** Adds an activation of a value as a layer. */
export function activated(call: Call, value: Value, type: Activation): Value {
  const node = emit(call.graph, wantedName(call), (name) => ({ type, name, inputs: [value.node] }));
  return { ...value, node };
}

/** Axes as ONNX counts them, from the end if negative; refuses one that is not there. */
export function axesOf(axes: readonly number[], rank: number): number[] {
  return axes.map((axis) => {
    const from = axis < 0 ? axis + rank : axis;
    return Number.isInteger(from) && from >= 0 && from < rank ? from : refuse(`axis ${axis} of ${rank} axes`);
  });
}
