/** Computing with constants: what exporters leave in a graph to compute shapes, and weights that they did not fold. */
import { constantOf, numbersOf, reshapeConstant, type Constant } from './constant.ts';
import { axesOf, constantAt, intOf, listOf, type Call } from './operator.ts';
import { refuse } from './refusal.ts';

/** Shapes are short; a file that computes with more elements than this does it to harm. */
const MOST_ELEMENTS = 2 ** 20;

const BINARY: Record<string, (a: number, b: number, whole: boolean) => number> = {
  Add: (a, b) => a + b,
  Sub: (a, b) => a - b,
  Mul: (a, b) => a * b,
  Div: (a, b, whole) => (whole ? Math.trunc(a / b) : a / b),
};
const UNARY: Record<string, (a: number) => number> = {
  Sqrt: Math.sqrt,
  Neg: (a) => -a,
  Reciprocal: (a) => 1 / a,
};

/** An arithmetic operator on constants; of two, one has one element, or both have the same shape or the same last axes. */
export function fold(opType: string, a: Constant, b?: Constant): Constant {
  const unary = UNARY[opType];
  if (unary) return mapped(a, unary);
  const binary = BINARY[opType];
  if (!binary || !b) return refuse(`${opType} of constants`);
  const [large, small] = a.data.length >= b.data.length ? [a, b] : [b, a];
  const fits = small.data.length === 1 || large.shape.join().endsWith(small.shape.join());
  if (!fits) refuse(`constants [${a.shape.join(',')}] and [${b.shape.join(',')}]`);
  const whole = a.data instanceof Float64Array;
  const at = (constant: Constant, index: number): number => constant.data[index % constant.data.length]!;
  return mapped(large, (_, index) => binary(at(a, index), at(b, index), whole));
}

function mapped(constant: Constant, change: (value: number, index: number) => number): Constant {
  const { data, shape } = constant;
  if (data.length > MOST_ELEMENTS) refuse(`computing with a constant [${shape.join(',')}]`);
  const values = data instanceof Float32Array ? data.map(change) : data.map(change);
  return constantOf(shape, values, null);
}

/** Whether `fold` can compute an operator. */
export const isArithmetic = (opType: string): boolean => Object.hasOwn(BINARY, opType) || Object.hasOwn(UNARY, opType);

/** Gather along the first axis of a list. */
export function gather(call: Call): Constant {
  const list = constantAt(call, 0);
  const indices = constantAt(call, 1);
  if (list.shape.length !== 1 || intOf(call, 'axis', 0) !== 0) refuse('expected a list to gather from');
  const picked = axesOf(numbersOf(indices), list.data.length).map((index) => list.data[index]!);
  return sameKind(list, indices.shape, picked);
}

/** Concat of lists. */
export function concatLists(call: Call): Constant {
  const lists = call.inputs.map((_, position) => constantAt(call, position));
  const [first] = lists;
  if (!first || lists.some(({ shape }) => shape.length !== 1)) return refuse('expected lists, or activations');
  const values = lists.flatMap((list) => numbersOf(list));
  if (values.length > 4096) refuse(`a list of ${values.length} numbers`);
  return sameKind(first, [values.length], values);
}

/** Slice of a constant, also backwards. */
export function sliceConstant(call: Call): Constant {
  const constant = constantAt(call, 0);
  const { shape, data } = constant;
  const values = numbersOf(constant);
  let picked = Array.from({ length: data.length }, (_, index) => index);
  const sizes = [...shape];
  for (const { axis, start, end, step } of slicesOf(call, shape)) {
    const along: number[] = [];
    for (let index = start; step > 0 ? index < end : index > end; index += step) along.push(index);
    const inner = sizes.slice(axis + 1).reduce((total, size) => total * size, 1);
    const outer = picked.length / (inner * sizes[axis]!) || 0;
    const before = picked;
    picked = Array.from({ length: outer }, (_, block) => block).flatMap((block) =>
      along.flatMap((index) => {
        const first = (block * sizes[axis]! + index) * inner;
        return before.slice(first, first + inner);
      }),
    );
    sizes[axis] = along.length;
  }
  return sameKind(
    constant,
    sizes,
    picked.map((index) => values[index]!),
  );
}

const sameKind = (like: Constant, shape: readonly number[], values: readonly number[]): Constant =>
  constantOf(shape, like.data instanceof Float32Array ? Float32Array.from(values) : Float64Array.from(values), null);

/** What Slice takes along each axis that it names; `sizes` are those of all axes. With a step below 0 `end` is what comes after the last, -1 for all. */
export function slicesOf(
  call: Call,
  sizes: readonly number[],
): { axis: number; start: number; end: number; step: number }[] {
  const starts = listOf(call, 1, 'starts') ?? [];
  const ends = listOf(call, 2, 'ends') ?? [];
  const axes = axesOf(listOf(call, 3, 'axes') ?? starts.map((_, index) => index), sizes.length);
  const steps = listOf(call, 4, 'steps') ?? starts.map(() => 1);
  return axes.map((axis, index) => {
    const size = sizes[axis]!;
    const step = steps[index]!;
    const [least, most] = step > 0 ? [0, size] : [-1, size - 1];
    const clamp = (value = Number.NaN): number => Math.min(Math.max(value < 0 ? value + size : value, least), most);
    const [start, end] = [clamp(starts[index]), clamp(ends[index])];
    if (!(Number.isInteger(start) && Number.isInteger(end) && Number.isInteger(step) && step !== 0)) {
      refuse(`slices from [${starts.join(',')}] to [${ends.join(',')}] by [${steps.join(',')}]`);
    }
    return { axis, start, end, step };
  });
}

/** ConstantOfShape: one value, zero unless the node has another. */
export function constantOfShape(shape: Constant, value: Constant | undefined): Constant {
  const sizes = numbersOf(shape, 8);
  const count = sizes.reduce((total, size) => total * size, 1);
  if (!(Number.isInteger(count) && count >= 0 && count <= MOST_ELEMENTS)) refuse(`a constant [${sizes.join(',')}]`);
  const fill = value?.data[0] ?? 0;
  const whole = value?.data instanceof Float64Array;
  return constantOf(sizes, whole ? new Float64Array(count).fill(fill) : new Float32Array(count).fill(fill), null);
}

/** A constant whose sizes of 1 are taken out at these axes (none given: all of them), or put in. */
export function squeezeConstant(constant: Constant, axes: readonly number[] | undefined): Constant {
  const taken = axes && axesOf(axes, constant.shape.length);
  return reshapeConstant(
    constant,
    constant.shape.filter((size, axis) => !(taken ? taken.includes(axis) : size === 1)),
  );
}

/** The shape with sizes of 1 put in, so that they are at these axes of the result. */
export function unsqueezed<Item>(items: readonly Item[], axes: readonly number[], one: Item): Item[] {
  const rank = items.length + axes.length;
  const added = new Set(axesOf(axes, rank));
  if (added.size !== axes.length) refuse(`axes [${axes.join(',')}]`);
  const rest = [...items];
  return Array.from({ length: rank }, (_, axis) => (added.has(axis) ? one : rest.shift()!));
}
