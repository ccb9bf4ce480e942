/** Tensors that are known while importing: weights, shapes, and what is computed from them. */
import type { Shape } from '../../../src/network/network.ts';
import { transpose, type FileTensor } from '../imported.ts';
import { refuse } from './refusal.ts';

/** Floats are weights; whole numbers (Float64Array) are shapes and indices, in which NaN stands for the size of the batch. */
export type Constant = {
  kind: 'constant';
  shape: Shape;
  data: Float32Array | Float64Array;
  /** Where it lies in the file, if the file has it as it is but for a transposition. */
  place: FileTensor | null;
};

const product = (shape: Shape): number => shape.reduce((total, size) => total * size, 1);

/** A constant that is a tensor of the file (its name), or is computed (null). */
export function constantOf(shape: Shape, data: Float32Array | Float64Array, tensor: string | null): Constant {
  const place = tensor === null ? null : { tensor, shape, axes: shape.map((_, axis) => axis) };
  return { kind: 'constant', shape, data, place };
}

/** The constant with its axes in another order. */
export function transposeConstant({ shape, data, place }: Constant, axes: readonly number[]): Constant {
  const known = axes.length === shape.length && shape.every((_, axis) => axes.includes(axis));
  if (!known) refuse(`a transposition by [${axes.join(',')}] of a tensor [${shape.join(',')}]`);
  const moved = { kind: 'constant' as const, shape: axes.map((axis) => shape[axis]!) };
  const turned = place && { ...place, axes: axes.map((axis) => place.axes[axis]!) };
  return data instanceof Float32Array
    ? { ...moved, data: transpose(data, shape, axes), place: turned }
    : { ...moved, data: Float64Array.from(transpose(Float32Array.from(data), shape, axes)), place: turned };
}

/** The constant in another shape of as many elements; its place goes with it where only sizes of 1 come or go, or its axes lie as in the file. */
export function reshapeConstant(constant: Constant, shape: Shape): Constant {
  const { data, place } = constant;
  if (product(shape) !== data.length) {
    refuse(`a tensor [${constant.shape.join(',')}] does not reshape to [${shape.join(',')}]`);
  }
  const reshaped = { kind: 'constant' as const, shape, data };
  if (!place) return { ...reshaped, place: null };
  if (place.axes.every((axis, position) => axis === position)) {
    return { ...reshaped, place: { tensor: place.tensor, shape, axes: shape.map((_, axis) => axis) } };
  }
  const large = (sizes: Shape): Shape => sizes.filter((size) => size !== 1);
  if (large(shape).join() !== large(constant.shape).join()) return { ...reshaped, place: null };
  return { ...reshaped, place: resized(place, shape) };
}

/** The place of a tensor whose axes of size 1 come and go: those of the file that are larger keep their order. */
function resized(place: FileTensor, shape: Shape): FileTensor {
  const kept = place.axes.filter((axis) => place.shape[axis] !== 1);
  const inFile = kept.toSorted((a, b) => a - b);
  const sizes = inFile.map((axis) => place.shape[axis]!);
  let [next, added] = [0, 0];
  const axes = shape.map((size) => (size === 1 ? sizes.length + added++ : inFile.indexOf(kept[next++]!)));
  return { tensor: place.tensor, shape: [...sizes, ...Array.from({ length: added }, () => 1)], axes };
}

/** The constant with one axis split in several, whose sizes multiply to its own. */
export function splitAxis({ shape, data, place }: Constant, axis: number, sizes: Shape): Constant {
  if (product(sizes) !== shape[axis]) refuse(`an axis of ${product(sizes)}, got [${shape.join(',')}]`);
  const split = {
    kind: 'constant' as const,
    shape: [...shape.slice(0, axis), ...sizes, ...shape.slice(axis + 1)],
    data,
  };
  if (!place) return { ...split, place: null };
  const at = place.axes[axis]!;
  const grown = sizes.length - 1;
  const axes = place.axes.flatMap((old, position) => {
    if (position === axis) return sizes.map((_, part) => at + part);
    return [old > at ? old + grown : old];
  });
  const whole = [...place.shape.slice(0, at), ...sizes, ...place.shape.slice(at + 1)];
  return { ...split, place: { tensor: place.tensor, shape: whole, axes } };
}

/** The values of a constant that is a list of whole numbers. */
export function numbersOf(constant: Constant, most = 4096): number[] {
  if (constant.data.length > most) refuse(`a list of at most ${most} numbers, got [${constant.shape.join(',')}]`);
  return [...constant.data];
}
