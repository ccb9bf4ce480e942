/** Operators that move activations without changing them: reshapes, transpositions, joins and choices of channels. */
import { constantOf, numbersOf, reshapeConstant, transposeConstant, type Constant } from './constant.ts';
import { concatLists, gather, slicesOf, sliceConstant, squeezeConstant, unsqueezed } from './folding.ts';
import { asImage, asVector, emit, freshValue, imageDimsOf, type Known } from './graph.ts';
import {
  axesOf,
  constantAt,
  intOf,
  intsOf,
  listOf,
  valueAt,
  wantedName,
  type Call,
  type Operator,
} from './operator.ts';
import { refuse } from './refusal.ts';
import { channelsFirst, channelsLast, dimSizes, reshapeValue, sizeOf, transposeValue, type Value } from './value.ts';

const isConstant = (known: Known | undefined): known is Constant => known?.kind === 'constant';

/** Reshape; the first size must be that of the batch. */
export const reshape: Operator = (call) => {
  const target = listOf(call, 1, 'shape') ?? refuse('expected a shape');
  const [input] = call.inputs;
  if (isConstant(input)) {
    const known = target.map((size, axis) => (size === 0 ? (input.shape[axis] ?? 0) : size));
    return reshapeConstant(input, resolved(known, input.data.length));
  }
  const value = valueAt(call, 0);
  const whole = [Number.NaN, ...dimSizes(value)];
  const sizes = target.map((size, axis) => (size === 0 && !intOf(call, 'allowzero', 0) ? (whole[axis] ?? 0) : size));
  const [first = 0, ...rest] = sizes;
  const elements = sizeOf(value.axes);
  const keepsBatch = Number.isNaN(first) || first === call.batch || (first === -1 && !rest.includes(-1));
  if (!keepsBatch) refuse(`a reshape to [${target.join(',')}], which does not keep the batch`);
  return reshapeValue(value, resolved(rest, elements));
};

/** The sizes with -1 replaced by what is left. */
function resolved(sizes: readonly number[], elements: number): number[] {
  const others = sizes.filter((size) => size !== -1).reduce((total, size) => total * size, 1);
  const result = sizes.map((size) => (size === -1 ? elements / others : size));
  const fits = sizes.length <= 8 && result.every((size) => Number.isSafeInteger(size) && size > 0);
  return fits ? result : refuse(`a reshape of ${elements} elements to [${sizes.slice(0, 8).join(',')}]`);
}

/** Flatten from axis 1. */
export const flatten: Operator = (call) => {
  const value = valueAt(call, 0);
  const [axis] = axesOf([intOf(call, 'axis', 1)], value.dims.length + 1);
  if (axis !== 1) refuse(`attribute axis: expected 1, got ${axis}`);
  return reshapeValue(value, [sizeOf(value.axes)]);
};

/** Squeeze, of activations or a constant. */
export const squeeze: Operator = (call) => {
  const axes = listOf(call, 1, 'axes');
  const [input] = call.inputs;
  if (isConstant(input)) return squeezeConstant(input, axes);
  const value = valueAt(call, 0);
  const taken = axes && axesOf(axes, value.dims.length + 1);
  const dims = value.dims.filter((dim, index) => !(taken ? taken.includes(index + 1) : dim.length === 0));
  if (taken?.includes(0) || sizeOf(dims.flat()) !== sizeOf(value.axes)) refuse('expected axes of size 1');
  return { ...value, dims };
};

/** Unsqueeze, of activations or a constant. */
export const unsqueeze: Operator = (call) => {
  const axes = listOf(call, 1, 'axes') ?? refuse('expected axes');
  const [input] = call.inputs;
  if (isConstant(input)) return reshapeConstant(input, unsqueezed(input.shape, axes, 1));
  const value = valueAt(call, 0);
  const [batch, ...dims] = unsqueezed<Value['dims'][number]>([[], ...value.dims], axes, []);
  if (!batch || axesOf(axes, value.dims.length + 1 + axes.length).includes(0))
    refuse('expected the batch to stay first');
  return { ...value, dims };
};

/** Transpose, of activations or a constant; without `perm` the axes are reversed. */
export const transposeNode: Operator = (call) => {
  const perm = intsOf(call, 'perm');
  const [input] = call.inputs;
  if (isConstant(input)) {
    return transposeConstant(input, perm ?? input.shape.map((_, axis) => input.shape.length - 1 - axis));
  }
  return transposeValue(valueAt(call, 0), perm ?? refuse('attribute perm: expected one that keeps the batch first'));
};

/** Shape of activations, as a constant in which NaN stands for the batch. */
export const shapeOf: Operator = (call) => {
  const [input] = call.inputs;
  const sizes = isConstant(input) ? [...input.shape] : [Number.NaN, ...dimSizes(valueAt(call, 0))];
  const clamp = (value: number): number => (value < 0 ? value + sizes.length : value);
  const picked = sizes.slice(clamp(intOf(call, 'start', 0)), clamp(intOf(call, 'end', sizes.length)));
  return constantOf([picked.length], Float64Array.from(picked), null);
};

/** Concat along the channels, or of lists. */
export const concat: Operator = (call) => {
  const { graph, inputs } = call;
  if (isConstant(inputs[0])) return concatLists(call);
  const values = inputs.map((_, position) => valueAt(call, position));
  const [first] = values;
  if (!first) return refuse('expected inputs, got none');
  if (values.length === 1) return first;
  const [axis] = axesOf([intOf(call, 'axis', 1)], first.dims.length + 1);
  if (first.dims.length === 1) {
    const nodes = values.map((value) => {
      if (value.axes.length > 1 && value.dims[0]!.some((item, index) => item !== value.axes[index])) {
        refuse('a concatenation of vectors that were flattened in another order than [height,width,channels]');
      }
      return asVector(graph, value, wantedName(call));
    });
    return freshValue(
      graph,
      emit(graph, wantedName(call), (name) => ({ type: 'concat', name, inputs: nodes })),
    );
  }
  const channels = imageDimsOf(graph, first)?.channels ?? refuse('expected [batch,channels,height,width]');
  if (axis !== channels + 1) refuse(`attribute axis: expected the channels (${channels + 1}), got ${axis}`);
  const nodes = values.map((value) => asImage(graph, channels === 0 ? value : channelsFirst(value), wantedName(call)));
  const joined = freshValue(
    graph,
    emit(graph, wantedName(call), (name) => ({ type: 'concat', name, inputs: nodes })),
  );
  return channels === 0 ? joined : channelsLast(joined);
};

/** Slice of a list, of the channels, or of every so many pixels from the first on (a pool whose window is one pixel). */
export const slice: Operator = (call) => {
  if (isConstant(call.inputs[0])) return sliceConstant(call);
  const value = valueAt(call, 0);
  const sizes = dimSizes(value);
  const taken = slicesOf(call, [Number.MAX_SAFE_INTEGER, ...sizes]).filter(({ axis, start, end, step }) => {
    return start !== 0 || step !== 1 || (axis > 0 && end < sizes[axis - 1]!);
  });
  if (!taken.length) return value;
  const [first = refuse('expected an axis'), ...others] = taken;
  const dims = imageDimsOf(call.graph, value);
  const pixels = dims && [dims.height + 1, dims.width + 1];
  if (pixels?.includes(first.axis)) return everySoMany(call, value, taken, pixels);
  const { axis, start, end, step } = first;
  if (others.length || step < 0) refuse('expected a slice of the channels only, forwards');
  const channels: number[] = [];
  for (let index = start; index < end && channels.length < 65_536; index += step) channels.push(index);
  return select(call, value, axis - 1, channels);
};

function everySoMany(
  call: Call,
  value: Value,
  taken: readonly { axis: number; start: number; end: number; step: number }[],
  pixels: readonly number[],
): Value {
  const { graph } = call;
  const [height, width] = graph.shapes.get(value.node)! as [number, number];
  const strides = pixels.map((axis) => taken.find((item) => item.axis === axis)?.step ?? 1) as [number, number];
  const whole = taken.every(({ axis, start, end, step }) => {
    return pixels.includes(axis) && start === 0 && step > 0 && end >= (axis === pixels[0] ? height : width);
  });
  if (!whole) refuse('expected a slice of every so many pixels, the first and the last included');
  const node = emit(graph, wantedName(call), (name) => {
    return { type: 'maxPool', name, inputs: [value.node], poolSize: [1, 1], strides, padding: 'valid' };
  });
  const fresh = freshValue(graph, node);
  return pixels[0] === 2 ? fresh : channelsLast(fresh);
}

/** Gather from a list, of channels, or of the only pixel there is. */
export const take: Operator = (call) => {
  if (isConstant(call.inputs[0])) return gather(call);
  const value = valueAt(call, 0);
  const indices = constantAt(call, 1);
  const [axis = 0] = axesOf([intOf(call, 'axis', 0)], value.dims.length + 1);
  const size = dimSizes(value)[axis - 1] ?? refuse('expected another axis than the batch');
  const picked = axesOf(numbersOf(indices, 65_536), size);
  if (indices.shape.length === 1) return select(call, value, axis - 1, picked);
  if (indices.shape.length || size !== 1) refuse('expected a list of channels, or the only one along an axis');
  return { ...value, dims: value.dims.filter((_, index) => index !== axis - 1) };
};

/** All parts of a Split of the channels. */
export function split(call: Call): Known[] {
  const value = valueAt(call, 0);
  const [axis] = axesOf([intOf(call, 'axis', 0)], value.dims.length + 1);
  const size = dimSizes(value)[axis! - 1] ?? refuse('expected the axis of the channels');
  const parts = call.node.output.length;
  const even = Array.from({ length: parts }, (_, part) =>
    Math.min(Math.ceil(size / parts), size - part * Math.ceil(size / parts)),
  );
  const sizes = listOf(call, 1, 'split') ?? even;
  if (sizes.length !== parts || parts > 1024) refuse(`expected ${parts} parts, got ${sizes.length}`);
  let start = 0;
  return sizes.map((count) => {
    if (!(Number.isInteger(count) && count > 0 && start + count <= size))
      refuse(`parts of [${sizes.join(',')}] of ${size}`);
    start += count;
    return select(
      call,
      value,
      axis! - 1,
      Array.from({ length: count }, (_, index) => start - count + index),
    );
  });
}

/** Some channels of activations. */
function select(call: Call, value: Value, dim: number, channels: number[]): Value {
  const { graph } = call;
  const isVector = value.dims.length === 1;
  const at = isVector ? 0 : (imageDimsOf(graph, value)?.channels ?? 0);
  if (dim !== at) refuse('expected a choice of channels, not of pixels');
  if (isVector && value.axes.length > 1) refuse('a choice among flattened activations');
  const image = at === 2 ? channelsFirst(value) : value;
  const node = isVector ? asVector(graph, value, wantedName(call)) : asImage(graph, image, wantedName(call));
  const chosen = emit(graph, wantedName(call), (name) => ({ type: 'selectChannels', name, inputs: [node], channels }));
  const result = freshValue(graph, chosen);
  return at === 2 ? channelsLast(result) : result;
}
