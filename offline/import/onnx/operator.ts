/** What an operator's import is given: its node, its inputs as far as they are known, and its attributes. */
import type { Constant } from './constant.ts';
import type { Gate, Graph, Known } from './graph.ts';
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

/** Axes as ONNX counts them, from the end if negative; refuses one that is not there. */
export function axesOf(axes: readonly number[], rank: number): number[] {
  return axes.map((axis) => {
    const from = axis < 0 ? axis + rank : axis;
    return Number.isInteger(from) && from >= 0 && from < rank ? from : refuse(`axis ${axis} of ${rank} axes`);
  });
}
