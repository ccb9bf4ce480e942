/** Operators with windows over height and width: convolutions, pools, padding, means over all pixels. */
import type { Shape } from '../../../src/network/network.ts';
import { constantOf, numbersOf, transposeConstant } from './constant.ts';
import { asImage, emit, freshValue, imageDimsOf, type Graph, type NewWeight } from './graph.ts';
import {
  axesOf,
  constantAt,
  intOf,
  intsOf,
  listOf,
  optionalConstantAt,
  textOf,
  valueAt,
  wantedName,
  floatOf,
  type Call,
  type Operator,
} from './operator.ts';
import { refuse } from './refusal.ts';
import { channelsLast, type Value } from './value.ts';

type Pair = [number, number];
type Sides = { top: number; bottom: number; left: number; right: number };
const NO_SIDES: Sides = { top: 0, bottom: 0, left: 0, right: 0 };

/** Conv with kernels [F,C/groups,kh,kw]. */
export const conv: Operator = (call) => {
  const { graph } = call;
  const wanted = wantedName(call);
  const kernel = constantAt(call, 1);
  if (kernel.shape.length !== 4) refuse(`expected a kernel of 4 axes, got [${kernel.shape.join(',')}]`);
  const [filters, , rows, columns] = kernel.shape as [number, number, number, number];
  const bias = optionalConstantAt(call, 2);
  const input = asImage(graph, valueAt(call, 0), wanted);
  const dilations = pairOf(call, 'dilations');
  const strides = pairOf(call, 'strides');
  const reach: Pair = [(rows - 1) * dilations[0] + 1, (columns - 1) * dilations[1] + 1];
  const padding = sidesOf(call, reach, strides, graph.shapes.get(input)!);
  const groups = intOf(call, 'group', 1);
  const weights: NewWeight[] = [
    {
      suffix: 'kernel',
      constant: transposeConstant(kernel, [2, 3, 1, 0]),
      shape: [rows, columns, kernel.shape[1]!, filters],
    },
  ];
  if (bias) weights.push({ suffix: 'bias', constant: bias, shape: [filters] });
  const channels = graph.shapes.get(input)![2]!;
  if (kernel.shape[1]! * groups !== channels) {
    refuse(`a kernel [${kernel.shape.join(',')}] in ${groups} groups on ${channels} channels`);
  }
  const node = emit(
    graph,
    wanted,
    (name) => ({
      type: 'conv2d',
      name,
      inputs: [input],
      filters,
      kernelSize: [rows, columns],
      strides,
      dilations,
      groups,
      padding,
      bias: bias !== undefined,
    }),
    weights,
  );
  return freshValue(graph, node);
};

/** MaxPool and AveragePool. */
export const pool =
  (type: 'maxPool' | 'averagePool'): Operator =>
  (call) => {
    const { graph } = call;
    const wanted = wantedName(call);
    let input = asImage(graph, valueAt(call, 0), wanted);
    const window = intsOf(call, 'kernel_shape') as Pair | undefined;
    if (window?.length !== 2) return refuse(`attribute kernel_shape: expected 2 numbers, got [${window?.join(',')}]`);
    if (pairOf(call, 'dilations').join() !== '1,1') refuse('attribute dilations: expected 1,1');
    const strides = pairOf(call, 'strides');
    const image = graph.shapes.get(input)!;
    let padding = sidesOf(call, window, strides, image);
    const extra = intOf(call, 'ceil_mode', 0) === 1 ? ceilSides(image, window, strides, padding) : NO_SIDES;
    if (type === 'averagePool' && intOf(call, 'count_include_pad', 0)) {
      // The network's average pool does not count its own padding, that of a layer before it it does.
      input = padded(graph, input, padding, wanted);
      padding = extra;
    } else padding = { ...padding, bottom: padding.bottom + extra.bottom, right: padding.right + extra.right };
    const node = emit(graph, wanted, (name) => {
      return { type, name, inputs: [input], poolSize: window, strides, padding };
    });
    return freshValue(graph, node);
  };

/** GlobalAveragePool and GlobalMaxPool; the result keeps two axes of size 1. */
export const globalPool =
  (type: 'globalAveragePool' | 'globalMaxPool'): Operator =>
  (call) => {
    const { graph } = call;
    const input = asImage(graph, valueAt(call, 0), wantedName(call));
    const node = emit(graph, wantedName(call), (name) => ({ type, name, inputs: [input] }));
    const value = freshValue(graph, node);
    return { ...value, dims: [...value.dims, [], []] };
  };

/** ReduceMean and ReduceMax over height and width. */
export const reduce =
  (type: 'globalAveragePool' | 'globalMaxPool'): Operator =>
  (call) => {
    const { graph } = call;
    const value = valueAt(call, 0);
    const rank = value.dims.length + 1;
    const axes = axesOf(listOf(call, 1, 'axes') ?? [], rank);
    const dims = imageDimsOf(graph, value);
    const space = dims && [dims.height + 1, dims.width + 1].toSorted((a, b) => a - b).join();
    const reduced = axes.toSorted((a, b) => a - b).join();
    // Channels that were shuffled before are still to be put in order.
    const isShuffled = !dims && rank === 4 && reduced === '2,3';
    if (!isShuffled && reduced !== space) {
      return refuse(`expected axes of height and width, got [${axes.join(',')}] of [batch,...]`);
    }
    const input = isShuffled ? asImage(graph, value, wantedName(call)) : value.node;
    if (graph.shapes.get(input)!.length !== 3) return refuse('expected activations with height and width');
    const node = emit(graph, wantedName(call), (name) => ({ type, name, inputs: [input] }));
    const pooled = freshValue(graph, node);
    if (!intOf(call, 'keepdims', 1)) return pooled;
    const channels = pooled.dims[0]!;
    const place = dims?.channels ?? 0;
    return { ...pooled, dims: value.dims.map((_, index) => (index === place ? channels : [])) };
  };

/** Pad with zeros around height and width, and of channels, as ResNets for CIFAR have it in their shortcuts. */
export const pad: Operator = (call) => {
  const { graph } = call;
  const value = valueAt(call, 0);
  const rank = value.dims.length + 1;
  const mode = textOf(call, 'mode', 'constant');
  const fill = optionalConstantAt(call, 2)?.data[0] ?? floatOf(call, 'value', 0);
  if (mode !== 'constant' || fill !== 0) refuse(`expected padding with zeros, got mode ${mode} with ${fill}`);
  const given = listOf(call, 1, 'pads') ?? [];
  const listedAxes = optionalConstantAt(call, 3);
  const axes = listedAxes ? axesOf(numbersOf(listedAxes), rank) : Array.from({ length: rank }, (_, axis) => axis);
  if (given.length !== 2 * axes.length) refuse(`expected 2 pads for each of ${axes.length} axes, got ${given.length}`);
  const sides = new Map(axes.map((axis, index) => [axis, [given[index]!, given[index + axes.length]!]]));
  const total = [...sides.values()].flat();
  if (total.every((side) => side === 0)) return value;
  if (total.some((side) => !(side >= 0 && side <= 1024))) refuse(`expected pads in 0..1024, got [${given.join(',')}]`);
  const dims =
    imageDimsOf(graph, value) ?? refuse('expected [batch,channels,height,width] or [batch,height,width,channels]');
  const around = (axis: number): readonly number[] => sides.get(axis + 1) ?? [0, 0];
  if (sides.get(0)?.some((side) => side !== 0)) refuse('expected no padding of the batch');
  const [[top = 0, bottom = 0], [left = 0, right = 0]] = [around(dims.height), around(dims.width)];
  const wanted = wantedName(call);
  const inSpace = padded(graph, spatialNode(graph, value), { top, bottom, left, right }, wanted);
  const [before = 0, after = 0] = around(dims.channels);
  const node = padChannels(graph, inSpace, before, after, wanted);
  const fresh = freshValue(graph, node);
  return dims.channels === 0 ? fresh : channelsLast(fresh);
};

function spatialNode(graph: Graph, { node }: Value): string {
  return graph.shapes.get(node)!.length === 3 ? node : refuse('expected activations with height and width');
}

function padded(graph: Graph, input: string, padding: Sides, wanted: string): string {
  if (Object.values(padding).every((side) => side === 0)) return input;
  return emit(graph, `${wanted}/pad`, (name) => ({ type: 'pad', name, inputs: [input], padding }));
}

/** Channels of zeros before and after: a convolution of 1 x 1 that copies the others. */
function padChannels(graph: Graph, input: string, before: number, after: number, wanted: string): string {
  if (before === 0 && after === 0) return input;
  const channels = graph.shapes.get(input)![2]!;
  const filters = before + channels + after;
  const data = new Float32Array(channels * filters);
  for (let channel = 0; channel < channels; channel++) data[channel * filters + before + channel] = 1;
  const shape = [1, 1, channels, filters];
  const kernel = { suffix: 'kernel', constant: constantOf(shape, data, null), shape };
  const one: Pair = [1, 1];
  const copy = { filters, kernelSize: one, strides: one, dilations: one, groups: 1, padding: NO_SIDES, bias: false };
  return emit(graph, `${wanted}/channels`, (name) => ({ type: 'conv2d', name, inputs: [input], ...copy }), [kernel]);
}

function pairOf(call: Call, name: string): Pair {
  const values = intsOf(call, name);
  if (!values?.length) return [1, 1];
  const fits = values.length === 2 && values.every((value) => value >= 1 && value <= 65_536);
  return fits ? (values as Pair) : refuse(`attribute ${name}: expected 2 positive numbers, got [${values.join(',')}]`);
}

/** The padding of a window in numbers: as given, or by ONNX's auto_pad (SAME_UPPER puts the odd one after, SAME_LOWER before). */
function sidesOf(call: Call, window: Pair, strides: Pair, [height = 0, width = 0]: Shape): Sides {
  const auto = textOf(call, 'auto_pad', 'NOTSET');
  if (auto === 'SAME_UPPER' || auto === 'SAME_LOWER') {
    const half = (size: number, axis: 0 | 1): Pair => {
      const needed = Math.max((Math.ceil(size / strides[axis]) - 1) * strides[axis] + window[axis] - size, 0);
      const [small, large] = [Math.floor(needed / 2), Math.ceil(needed / 2)];
      return auto === 'SAME_UPPER' ? [small, large] : [large, small];
    };
    const [[top, bottom], [left, right]] = [half(height, 0), half(width, 1)];
    return { top, bottom, left, right };
  }
  const pads = intsOf(call, 'pads') ?? [];
  if (auto === 'VALID' || !pads.length) return NO_SIDES;
  if (auto !== 'NOTSET' || pads.length !== 4 || pads.some((side) => side < 0 || side > 1024)) {
    return refuse(`expected 4 pads in 0..1024, got [${pads.slice(0, 8).join(',')}] and auto_pad ${auto}`);
  }
  const [top, left, bottom, right] = pads as [number, number, number, number];
  return { top, bottom, left, right };
}

/** What ceil_mode adds after the padding, so that the last window fits; a window may not start in what lies after the input. */
function ceilSides([height = 0, width = 0]: Shape, window: Pair, strides: Pair, sides: Sides): Sides {
  const extra = (size: number, before: number, after: number, axis: 0 | 1): number => {
    const stride = strides[axis];
    let windows = Math.ceil((size + before + after - window[axis]) / stride) + 1;
    if ((windows - 1) * stride >= size + before) windows -= 1;
    return Math.max((windows - 1) * stride + window[axis] - (size + before + after), 0);
  };
  return {
    ...NO_SIDES,
    bottom: extra(height, sides.top, sides.bottom, 0),
    right: extra(width, sides.left, sides.right, 1),
  };
}
