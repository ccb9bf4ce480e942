/**
 * What an importer reads from a model file (a draft, in the file's own terms) and what becomes of it: a network that takes `images
 * [B,H,W,C] in 0..1`, with the way back of every weight into the file.
 */
import { checkWeights } from '../../src/network/forward.ts';
import type { Input } from '../../src/network/input.ts';
import { IMAGES, layerShapes, parseNetwork, type Layer, type Shape } from '../../src/network/network.ts';
import type { HostWeights } from '../../src/network/safetensors.ts';
import { failure, success, type Result } from '../../src/result.ts';
import type { Model } from '../model.ts';

/**
 * Where a weight lies in its file: the file's tensor, viewed as `shape` and transposed by `axes` (axis i of the weight is axis
 * `axes[i]` of the view), is the weight in row-major order; neighbouring axes of it may then be merged.
 */
export type FileTensor = { tensor: string; shape: Shape; axes: readonly number[] };

/** A weight in the network's order; `from` is null for one that the file does not hold as a tensor of its own. */
export type DraftWeight = { shape: Shape; data: Float32Array; from: FileTensor | null };

/** What a file says about its input; what it leaves open is guessed or comes from flags. */
export type InputHints = Partial<Input> & { height: number; width: number; channelCount: number };

/** A network in the terms of its file: the node `images` is what the file calls its input, channels last. */
export type Draft = {
  input: InputHints;
  layers: Layer[];
  /** The node that holds the answers of all labels; a softmax that ends the network is dropped. */
  output: string;
  weights: Map<string, DraftWeight>;
};

/** What the user says about the input of a model file; the size is for files that leave it open. */
export type GivenInput = Partial<Input> & { size?: { height: number; width: number } };

/** The largest model file that is read, and the most that its weights may hold, in bytes: 256 MiB, far above what an edge isolate carries. */
export const MODEL_LIMIT_BYTES = 2 ** 28;

/** The most numbers that a node may hold for one image: 64 MiB of them. */
const MOST_ACTIVATIONS = 2 ** 24;

/** A model with the input settings it was given, and the place of its weights in the file that it came from. */
export type ImportedModel = Model & { input: Input; places: ReadonlyMap<string, FileTensor> };

/** Completes a draft with the settings that the user gave; the error names the setting, layer or weight that does not fit. */
export function completeDraft(draft: Draft, given: GivenInput): Result<ImportedModel> {
  const { height, width, channelCount, ...hints } = draft.input;
  const { size: _, ...settings } = given;
  const input: Input = {
    layout: 'nhwc',
    channels: 'rgb',
    scale: 1,
    mean: Array.from({ length: channelCount }, () => 0),
    std: Array.from({ length: channelCount }, () => 1),
    ...hints,
    ...settings,
  };
  for (const name of ['mean', 'std'] as const) {
    const values = input[name].length === 1 ? Array.from({ length: channelCount }, () => input[name][0]!) : input[name];
    if (values.length !== channelCount) {
      return failure(`--${name}: expected 1 or ${channelCount} numbers (one a channel), got ${values.length}`);
    }
    input[name] = values;
  }
  if (input.channels === 'bgr' && channelCount !== 3) {
    return failure(`--channels bgr: expected a model of 3 channels, got ${channelCount}`);
  }
  const softmax = draft.layers.find(({ name, type }) => name === draft.output && type === 'softmax');
  const output = softmax?.inputs[0] ?? draft.output;
  const layers = withInput(input, draft.layers).filter(({ name }) => name !== softmax?.name);
  const size = { height, width, channels: channelCount };
  const shapes = layerShapes({ input: size, layers });
  if (!shapes.ok) return shapes;
  const large = [...shapes.value].find(
    ([, shape]) => shape.reduce((total, size) => total * size, 1) > MOST_ACTIVATIONS,
  );
  if (large)
    return failure(`node "${large[0]}": expected at most ${MOST_ACTIVATIONS} numbers, got [${large[1].join(',')}]`);
  const labelCount = shapes.value.get(output)?.at(-1) ?? 0;
  const labelNames = Array.from({ length: labelCount }, (_, label) => `${label}`);
  const network = parseNetwork({ schemaVersion: 1, input: size, labelNames, layers, output });
  if (!network.ok) return network;
  const weights: HostWeights = new Map(
    [...draft.weights].map(([name, { shape, data }]) => [name, { dtype: 'F32', shape, data }]),
  );
  const checked = checkWeights(network.value, weights);
  if (!checked.ok) return checked;
  const places = [...draft.weights].flatMap(([name, { from }]) => (from ? [[name, from] as const] : []));
  return success({ network: network.value, weights, input, places: new Map(places) });
}

/** The layers, with those before them that turn `images` in 0..1 into what the file takes. */
function withInput({ channels, scale, mean, std }: Input, layers: readonly Layer[]): Layer[] {
  const first: Layer[] = [];
  if (channels === 'bgr') first.push({ type: 'selectChannels', name: 'bgr', inputs: [IMAGES], channels: [2, 1, 0] });
  if (scale !== 1 || mean.some((value) => value !== 0) || std.some((value) => value !== 1)) {
    first.push({
      type: 'normalize',
      name: 'normalize',
      inputs: [first.at(-1)?.name ?? IMAGES],
      mean: mean.map((value) => value / scale),
      std: std.map((value) => value / scale),
    });
  }
  const input = first.at(-1)?.name ?? IMAGES;
  const fed = layers.map((item): Layer => {
    return { ...item, inputs: item.inputs.map((name) => (name === IMAGES ? input : name)) } as Layer;
  });
  return [...first, ...fed];
}

/** Turns the names of a file into legal and different node names; the names `images`, `bgr`, `normalize` are kept free. */
export function nodeNamer(): (wanted: string) => string {
  const used = new Set([IMAGES, 'bgr', 'normalize']);
  return (wanted) => {
    const legal = wanted
      .replaceAll(/[^\w.:/-]/g, '_')
      .replaceAll(/\/+/g, '/')
      .replaceAll(/^\/|\/$/g, '')
      .slice(0, 180);
    const base = legal || 'node';
    let name = base;
    for (let count = 2; used.has(name); count++) name = `${base}_${count}`;
    used.add(name);
    return name;
  };
}

/** The values of a row-major tensor of this shape with its axes in the order `axes`; for a weight: from the file's order into the network's. */
export function transpose(values: Float32Array, shape: Shape, axes: readonly number[]): Float32Array {
  if (axes.every((axis, position) => axis === position)) return values;
  const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((total, size) => total * size, 1));
  const sizes = axes.map((axis) => shape[axis]!);
  const steps = axes.map((axis) => strides[axis]!);
  const result = new Float32Array(values.length);
  const position = sizes.map(() => 0);
  let from = 0;
  for (let index = 0; index < result.length; index++) {
    result[index] = values[from]!;
    for (let axis = sizes.length - 1; axis >= 0; axis--) {
      from += steps[axis]!;
      if (++position[axis]! < sizes[axis]!) break;
      from -= steps[axis]! * sizes[axis]!;
      position[axis] = 0;
    }
  }
  return result;
}

/** The other way: the values of a weight, in the network's order, in the order of its file. */
export function toFileOrder(values: Float32Array, { shape, axes }: FileTensor): Float32Array {
  const turned = axes.map((axis) => shape[axis]!);
  const back = shape.map((_, axis) => axes.indexOf(axis));
  return transpose(values, turned, back);
}
