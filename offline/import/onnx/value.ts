/**
 * Activations while importing. ONNX orders their axes by node (mostly [B,C,H,W]) and reorders them freely, the network always
 * has [B,H,W,C]. So each value says of which axes of its node, in the network's order, each of its dimensions is made: a transposition
 * reorders dimensions, a reshape regroups axes, and neither needs a layer.
 */
import type { Shape } from '../../../src/network/network.ts';
import { refuse } from './refusal.ts';

/** An axis, told from others by identity; axes of size 1 are left out. */
export type Axis = { readonly size: number };

/** `dims` are those of the ONNX tensor without the batch, which always comes first. */
export type Value = {
  kind: 'value';
  node: string;
  /** In the row-major order of the node. */
  axes: readonly Axis[];
  dims: readonly (readonly Axis[])[];
};

/** How many elements lie along axes. */
export const sizeOf = (axes: readonly Axis[]): number => axes.reduce((total, { size }) => total * size, 1);

/** The sizes of the dimensions, without the batch. */
export const dimSizes = ({ dims }: Value): number[] => dims.map(sizeOf);

/** A node of this shape, its dimensions taken in the order `order` (indices into `shape`). */
export function valueOf(node: string, shape: Shape, order: readonly number[]): Value {
  const axes = shape.map((size): Axis => ({ size }));
  const dims = order.map((index) => [axes[index]!].filter(({ size }) => size !== 1));
  return { kind: 'value', node, axes: axes.filter(({ size }) => size !== 1), dims };
}

/** A node [H,W,C] as ONNX's [B,C,H,W], or [K] as [B,K]. */
export const nodeValue = (node: string, shape: Shape): Value =>
  valueOf(node, shape, shape.length === 3 ? [2, 0, 1] : [0]);

/** Joins axes that lie side by side both in the node and in a dimension, so that equal layouts look equal. */
export function canonical(value: Value): Value {
  for (const [position, axis] of value.axes.entries()) {
    const next = value.axes[position + 1];
    const together = next && value.dims.some((dim) => dim.includes(axis) && dim[dim.indexOf(axis) + 1] === next);
    if (!together) continue;
    const joined: Axis = { size: axis.size * next.size };
    const join = (list: readonly Axis[]): Axis[] =>
      list.flatMap((item) => (item === axis ? [joined] : item === next ? [] : [item]));
    return canonical({ ...value, axes: join(value.axes), dims: value.dims.map(join) });
  }
  return value;
}

/** The value with dimensions of these sizes (without the batch), grouping and splitting axes; refuses what would cut across them. */
export function reshapeValue(value: Value, sizes: readonly number[]): Value {
  if (sizes.reduce((total, size) => total * size, 1) !== sizeOf(value.axes)) {
    refuse(`a reshape from [batch,${dimSizes(value).join(',')}] to [batch,${sizes.join(',')}]`);
  }
  let axes = [...value.axes];
  const rest = value.dims.flat();
  const dims = sizes.map((size) => {
    const dim: Axis[] = [];
    while (sizeOf(dim) < size) {
      const axis = rest.shift() ?? refuse('a reshape that does not fit');
      const wanted = size / sizeOf(dim);
      if (wanted % axis.size === 0) {
        dim.push(axis);
        continue;
      }
      if (axis.size % wanted !== 0) {
        refuse(`a reshape from [batch,${dimSizes(value).join(',')}] to [batch,${sizes.join(',')}] across axes`);
      }
      const [first, second] = [{ size: wanted }, { size: axis.size / wanted }];
      axes = axes.flatMap((item) => (item === axis ? [first, second] : [item]));
      rest.unshift(second);
      dim.push(first);
    }
    return dim;
  });
  return canonical({ ...value, axes, dims });
}

/** The value with its dimensions in another order, that of ONNX's `perm` with the batch in front. */
export function transposeValue(value: Value, perm: readonly number[]): Value {
  const rank = value.dims.length + 1;
  const known = perm.length === rank && perm.every((from) => Number.isInteger(from) && from >= 0 && from < rank);
  if (!known || perm[0] !== 0 || new Set(perm).size !== rank) {
    refuse(`a transposition by [${perm.join(',')}] of ${rank} axes, the batch first`);
  }
  return canonical({ ...value, dims: perm.slice(1).map((from) => value.dims[from - 1]!) });
}

/** Whether two values have the same dimensions made of the same axes of their nodes. */
export function sameLayout(a: Value, b: Value): boolean {
  const layout = (value: Value): string => {
    const { axes, dims } = canonical(value);
    return [axes.map(({ size }) => size), ...dims.map((dim) => dim.map((axis) => axes.indexOf(axis)))].join('|');
  };
  return layout(a) === layout(b);
}

/** Which dimensions are the height, the width and the channels of its node, of this shape; undefined if they are not so simple. */
export function imageDims(value: Value, shape: Shape): { height: number; width: number; channels: number } | undefined {
  if (value.dims.length !== 3) return undefined;
  const sizes = shape.length === 3 ? shape : [1, 1, ...shape];
  const orders = [
    { channels: 0, height: 1, width: 2 },
    { height: 0, width: 1, channels: 2 },
  ];
  return orders.find(({ height, width, channels }) => {
    const dims = [height, width, channels].map((index) => value.dims[index]!);
    const ordered = dims.flat();
    const inOrder = ordered.length === value.axes.length && ordered.every((axis, index) => axis === value.axes[index]);
    return inOrder && dims.map(sizeOf).join() === sizes.join();
  });
}

/** A value [B,H,W,C] with its dimensions in the order [B,C,H,W]. */
export function channelsFirst(value: Value): Value {
  const [height = [], width = [], channels = []] = value.dims;
  return { ...value, dims: [channels, height, width] };
}

/** A value [B,C,H,W] with its dimensions in the order [B,H,W,C]. */
export function channelsLast(value: Value): Value {
  const [channels = [], height = [], width = []] = value.dims;
  return { ...value, dims: [height, width, channels] };
}
