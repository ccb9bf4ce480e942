/** The network under construction: layers are emitted, values are brought to the forms that layers take. */
import { IMAGES, outputShape, type Layer, type Shape } from '../../../src/network/network.ts';
import { MODEL_LIMIT_BYTES, nodeNamer, type DraftWeight } from '../imported.ts';
import { constantOf, reshapeConstant, splitAxis, transposeConstant, type Constant } from './constant.ts';
import { refuse } from './refusal.ts';
import { canonical, imageDims, nodeValue, sizeOf, type Axis, type Value } from './value.ts';

/** A function of activations that only makes sense in a product with them: see gates.ts. */
export type Gate = {
  kind: 'gate';
  form: 'hardSigmoid' | 'erf' | 'onePlusErf' | 'halfOnePlusErf' | 'inputOnePlusErf';
  of: Value;
};
export type Known = Value | Constant | Gate;

export type Graph = {
  opset: number;
  layers: Layer[];
  shapes: Map<string, Shape>;
  weights: Map<string, DraftWeight>;
  name: (wanted: string) => string;
  /** How many elements of weights may still be made. */
  budget: number;
};

/** Layers may share tensors of a file, and nodes compute new ones; what is made of a file is bounded by what it holds. */
const MOST_ELEMENTS = MODEL_LIMIT_BYTES / 2;
const SPARE_ELEMENTS = 2 ** 20;
/** More than a network may have (network.ts); a file that asks for more is not looked at further. */
const MOST_LAYERS = 4096;

/** An empty graph whose input `images` has this shape [H,W,C], for a file that holds so many bytes with its tensors. */
export function newGraph(opset: number, input: Shape, bytes: number): Graph {
  const shapes = new Map([[IMAGES, input]]);
  const budget = Math.min(SPARE_ELEMENTS + bytes, MOST_ELEMENTS);
  return { opset, layers: [], shapes, weights: new Map(), name: nodeNamer(), budget };
}

export type NewWeight = { suffix: string; constant: Constant; shape: Shape };

/** Adds a layer, whose name is made from `wanted`, with its weights; returns its name. */
export function emit(
  graph: Graph,
  wanted: string,
  make: (name: string) => Layer,
  weights: readonly NewWeight[] = [],
): string {
  if (graph.layers.length >= MOST_LAYERS) refuse(`expected at most ${MOST_LAYERS} layers`);
  const layer = make(graph.name(wanted));
  const inputs = layer.inputs.map((input) => graph.shapes.get(input)!);
  const shape = outputShape(layer, inputs);
  if (typeof shape === 'string') refuse(shape);
  if (!shape.every((size) => Number.isSafeInteger(size) && size > 0)) refuse(`a result [${shape.join(',')}]`);
  if (layer.type === 'selectChannels') spend(graph, layer.channels.length);
  graph.layers.push(layer);
  graph.shapes.set(layer.name, shape);
  for (const weight of weights) addWeight(graph, layer.name, weight);
  return layer.name;
}

/** Adds a weight to a layer; refuses one that does not have as many elements as its shape. */
export function addWeight(graph: Graph, layer: string, { suffix, constant, shape }: NewWeight): void {
  const { data, place } = constant;
  if (!(data instanceof Float32Array)) refuse(`expected floating-point numbers for its ${suffix}`);
  if (data.length !== sizeOf(shape.map((size) => ({ size })))) {
    refuse(`expected a ${suffix} of ${shape.join(' x ')} numbers, got [${constant.shape.join(',')}]`);
  }
  spend(graph, data.length);
  graph.weights.set(`${layer}/${suffix}`, { shape, data, from: place });
}

/** Counts elements that are made in memory; refuses more than any model needs. */
export function spend(graph: Graph, elements: number): void {
  graph.budget -= elements;
  if (graph.budget < 0) refuse('more would be computed than the file holds');
}

/** The value as a node [H,W,C] for an operator on ONNX's [B,C,H,W]; a reshape or a choice of channels is emitted where needed. */
export function asImage(graph: Graph, value: Value, wanted: string): string {
  const { axes, dims } = canonical(value);
  if (dims.length !== 3) refuse(`expected an input of 4 axes, got ${dims.length + 1}`);
  const [channels = [], height = [], width = []] = dims;
  const space = [...height, ...width];
  const own = axes.slice(space.length);
  if (!space.every((axis, index) => axis === axes[index]) || !own.every((axis) => channels.includes(axis))) {
    refuse('expected an input [batch,channels,height,width] that follows the layout of the images');
  }
  const shape = [sizeOf(height), sizeOf(width), sizeOf(own)] as const;
  const image = shaped(graph, value.node, shape, wanted);
  if (own.every((axis, index) => axis === channels[index])) return image;
  return emit(graph, `${wanted}/shuffle`, (name) => {
    return { type: 'selectChannels', name, inputs: [image], channels: channelOrder(own, channels) };
  });
}

/** For channels made of axes in one order: which of them comes where when the axes are in another. */
function channelOrder(from: readonly Axis[], to: readonly Axis[]): number[] {
  const stride = (axis: Axis): number => sizeOf(from.slice(from.indexOf(axis) + 1));
  return to.reduce<number[]>(
    (order, axis) =>
      order.flatMap((base) => Array.from({ length: axis.size }, (_, step) => base + step * stride(axis))),
    [0],
  );
}

/** The node, reshaped if it has not this shape. */
function shaped(graph: Graph, node: string, shape: Shape, wanted: string): string {
  if (graph.shapes.get(node)!.join() === shape.join()) return node;
  return emit(graph, `${wanted}/reshape`, (name) => ({ type: 'reshape', name, inputs: [node], shape: [...shape] }));
}

/** The value as a node [K] for an operator on ONNX's [B,K]; the node's order may be another: see `inNodeOrder`. */
export function asVector(graph: Graph, value: Value, wanted: string): string {
  if (value.dims.length !== 1) refuse(`expected an input of 2 axes, got ${value.dims.length + 1}`);
  if (graph.shapes.get(value.node)!.length === 1) return value.node;
  return emit(graph, `${wanted}/flatten`, (name) => ({ type: 'flatten', name, inputs: [value.node] }));
}

/** A weight whose first axis goes along the only dimension of a value [B,K], brought into the order of the value's node. */
export function inNodeOrder(constant: Constant, value: Value): Constant {
  const { axes, dims } = canonical(value);
  const along = dims[0]!;
  if (along.length < 2) return constant;
  const split = splitAxis(
    constant,
    0,
    along.map(({ size }) => size),
  );
  const others = constant.shape.slice(1).map((_, index) => along.length + index);
  const turned = transposeConstant(split, [...axes.map((axis) => along.indexOf(axis)), ...others]);
  return { ...turned, shape: constant.shape };
}

/** Whether a node is `images`, or images that were only scaled. */
export function isPixels(graph: Graph, node: string): boolean {
  return node === IMAGES || graph.layers.some(({ name, type }) => name === node && type === 'normalize');
}

/** The value of a new node in ONNX's usual order. */
export const freshValue = (graph: Graph, node: string): Value => nodeValue(node, graph.shapes.get(node)!);

/** Which dimensions of a value are the height, the width and the channels of its node; undefined if they are not so simple. */
export const imageDimsOf = (graph: Graph, value: Value): ReturnType<typeof imageDims> =>
  imageDims(value, graph.shapes.get(value.node)!);

/** A vector of one number for each channel from a constant that holds one for all, or one for each. */
export function perChannel(constant: Constant, channels: number): Constant {
  if (constant.data.length === channels) return reshapeConstant(constant, [channels]);
  const [value] = constant.data;
  return constantOf([channels], new Float32Array(channels).fill(value!), null);
}
