/**
 * The classifier as data: a graph of named layers, listed so that every layer comes after its inputs.
 *
 * Activations are NHWC. The reserved node `images` is the batch [B,H,W,C] in 0..1, exactly what a trigger is stamped on;
 * scaling by mean and standard deviation is an ordinary first layer (`normalize`).
 */
import * as z from 'zod';
import { failure, success, type Result } from '../result.ts';

/** The node that holds the network's input, `images [B,H,W,C] in 0..1`. */
export const IMAGES = 'images';

const nodeName = z
  .string()
  .max(200)
  .regex(/^[\w.:-]+(\/[\w.:-]+)*$/, 'expected letters, digits, "_", ".", ":", "-" and single "/"');
const size = z.int().min(1).max(65_536);
const pair = z.tuple([size, size]);
const border = z.int().min(0).max(1024);
const sides = z.strictObject({ top: border, bottom: border, left: border, right: border });
const padding = z.union([z.enum(['same', 'valid']), sides], {
  error: 'expected "same", "valid" or {top, bottom, left, right} in 0..1024',
});
const one = z.tuple([nodeName]);
const several = z.array(nodeName).min(2).max(256);

const layer = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('normalize'),
    name: nodeName,
    inputs: one,
    mean: z.array(z.number()).min(1).max(1024),
    std: z.array(z.number().positive()).min(1).max(1024),
  }),
  z.strictObject({
    type: z.literal('conv2d'),
    name: nodeName,
    inputs: one,
    filters: size,
    kernelSize: pair,
    strides: pair,
    dilations: pair,
    groups: size,
    padding,
    bias: z.boolean(),
  }),
  z.strictObject({ type: z.literal('batchNorm'), name: nodeName, inputs: one, epsilon: z.number().positive() }),
  z.strictObject({ type: z.literal('dense'), name: nodeName, inputs: one, units: size, bias: z.boolean() }),
  z.strictObject({ type: z.literal('add'), name: nodeName, inputs: several }),
  z.strictObject({ type: z.literal('concat'), name: nodeName, inputs: several }),
  z.strictObject({ type: z.literal('pad'), name: nodeName, inputs: one, padding: sides }),
  z.strictObject({
    type: z.enum(['maxPool', 'averagePool']),
    name: nodeName,
    inputs: one,
    poolSize: pair,
    strides: pair,
    padding,
  }),
  z.strictObject({ type: z.enum(['globalAveragePool', 'globalMaxPool', 'flatten']), name: nodeName, inputs: one }),
  /** The listed channels, in that order. */
  z.strictObject({
    type: z.literal('selectChannels'),
    name: nodeName,
    inputs: one,
    channels: z.array(z.int().min(0).max(65_535)).min(1).max(65_536),
  }),
  z.strictObject({ type: z.literal('reshape'), name: nodeName, inputs: one, shape: z.array(size).min(1).max(3) }),
  z.strictObject({
    type: z.enum([
      'relu',
      'relu6',
      'elu',
      'selu',
      'sigmoid',
      'tanh',
      'swish',
      'hardSwish',
      'gelu',
      'geluTanh',
      'softmax',
    ]),
    name: nodeName,
    inputs: one,
  }),
  z.strictObject({ type: z.literal('leakyRelu'), name: nodeName, inputs: one, alpha: z.number() }),
]);

/** The zod schema of `network.json`; `parseNetwork` also checks what a schema cannot say. */
export const networkSchema = z.strictObject({
  schemaVersion: z.literal(1),
  input: z.strictObject({ height: size, width: size, channels: size }),
  labelNames: z.array(z.string().max(200)).min(2).max(10_000),
  layers: z.array(layer).min(1).max(4096),
  /** The node that holds the logits [B,K]. */
  output: nodeName,
});

export type Network = z.infer<typeof networkSchema>;
export type Layer = Network['layers'][number];
export type Shape = readonly number[];

/** Parses untrusted JSON into a network whose graph, shapes and output are consistent; the error names the layer and the field. */
export function parseNetwork(json: unknown): Result<Network> {
  const parsed = networkSchema.safeParse(json);
  if (!parsed.success) return failure(schemaError(json, parsed.error.issues[0]!));
  const shapes = nodeShapes(parsed.data);
  return shapes.ok ? success(parsed.data) : shapes;
}

function schemaError(json: unknown, { path, message }: z.core.$ZodIssue): string {
  const [first, index, ...field] = path;
  if (first !== 'layers' || typeof index !== 'number') return `network: ${path.join('.') || 'file'}: ${message}`;
  const name: unknown = (json as { layers: ({ name?: unknown } | null)[] }).layers[index]?.name;
  const layer = typeof name === 'string' ? JSON.stringify(name.slice(0, 200)) : index;
  return `network: layer ${layer}: ${field.join('.') || 'entry'}: ${message}`;
}

/**
 * The shape of every node without the batch axis ([H,W,C] or [K]), by name, `images` included.
 * Fails when a name is used twice, an input is missing or comes later, a shape does not fit, or the output is not one logit a label.
 */
export function nodeShapes(network: Network): Result<Map<string, Shape>> {
  const shapes = layerShapes(network);
  if (!shapes.ok) return shapes;
  const logits = shapes.value.get(network.output);
  const expected = network.labelNames.length;
  if (logits?.length !== 1 || logits[0] !== expected) {
    const got = logits ? `[${logits.join(',')}]` : 'no such node';
    return failure(`network: output "${network.output}": expected [${expected}] (one logit a label), got ${got}`);
  }
  return shapes;
}

/** The shape of every node, as `nodeShapes`, of layers whose output is not known yet. */
export function layerShapes({ input: image, layers }: Pick<Network, 'input' | 'layers'>): Result<Map<string, Shape>> {
  const shapes = new Map<string, Shape>([[IMAGES, [image.height, image.width, image.channels]]]);
  for (const item of layers) {
    if (shapes.has(item.name)) return failure(`network: layer "${item.name}": the name is used twice`);
    const inputs: Shape[] = [];
    for (const input of item.inputs) {
      const shape = shapes.get(input);
      if (!shape) return failure(`network: layer "${item.name}": input "${input}" is not an earlier node`);
      inputs.push(shape);
    }
    const shape = outputShape(item, inputs);
    if (typeof shape === 'string') return failure(`network: layer "${item.name}" (${item.type}): ${shape}`);
    shapes.set(item.name, shape);
  }
  return success(shapes);
}

/** The name and shape of every weight tensor that the network needs: conv2d kernels are [kh,kw,C/groups,filters], dense kernels [C,units]. */
export function weightShapes(network: Network): Map<string, Shape> {
  const shapes = nodeShapes(network);
  if (!shapes.ok) throw new Error(shapes.error);
  const weights = new Map<string, Shape>();
  for (const item of network.layers) {
    const channels = shapes.value.get(item.inputs[0]!)!.at(-1)!;
    for (const [suffix, shape] of Object.entries(layerWeights(item, channels))) {
      weights.set(`${item.name}/${suffix}`, shape);
    }
  }
  return weights;
}

function layerWeights(item: Layer, channels: number): Record<string, Shape> {
  switch (item.type) {
    case 'conv2d': {
      const kernel = [...item.kernelSize, channels / item.groups, item.filters];
      return item.bias ? { kernel, bias: [item.filters] } : { kernel };
    }
    case 'dense': {
      const kernel = [channels, item.units];
      return item.bias ? { kernel, bias: [item.units] } : { kernel };
    }
    case 'batchNorm':
      return { gamma: [channels], beta: [channels], mean: [channels], variance: [channels] };
    default:
      return {};
  }
}

type Padding = z.infer<typeof padding>;

function windowOutput(inputSize: number, window: number, stride: number, pad: 'same' | 'valid' | number): number {
  if (pad === 'same') return Math.ceil(inputSize / stride);
  return Math.floor((inputSize + (pad === 'valid' ? 0 : pad) - window) / stride) + 1;
}

function windowShape(input: Shape, window: Shape, strides: Shape, pad: Padding, channels: number): Shape | string {
  const [height = 0, width = 0] = input;
  const vertical = typeof pad === 'string' ? pad : pad.top + pad.bottom;
  const horizontal = typeof pad === 'string' ? pad : pad.left + pad.right;
  const rows = windowOutput(height, window[0]!, strides[0]!, vertical);
  const columns = windowOutput(width, window[1]!, strides[1]!, horizontal);
  return rows < 1 || columns < 1
    ? `the window [${window.join(',')}] is larger than its input [${input.join(',')}]`
    : [rows, columns, channels];
}

const noSides = { top: 0, bottom: 0, left: 0, right: 0 };
const product = (shape: Shape): number => shape.reduce((total, axis) => total * axis, 1);

/** The output shape of one layer for inputs of these shapes, without the batch axis; a string says what does not fit. */
export function outputShape(item: Layer, inputs: readonly Shape[]): Shape | string {
  const input = inputs[0]!;
  const channels = input.at(-1)!;
  const needsImage = `expected an input [H,W,C], got [${input.join(',')}]`;
  switch (item.type) {
    case 'normalize': {
      const fits = [item.mean, item.std].every((values) => values.length === channels);
      return fits ? input : `expected ${channels} values in mean and in std`;
    }
    case 'conv2d': {
      if (input.length !== 3) return needsImage;
      if (channels % item.groups || item.filters % item.groups) {
        return `groups ${item.groups} must divide both the ${channels} input channels and the ${item.filters} filters`;
      }
      const window = item.kernelSize.map((length, axis) => (length - 1) * item.dilations[axis]! + 1);
      return windowShape(input, window, item.strides, item.padding, item.filters);
    }
    case 'maxPool':
    case 'averagePool': {
      if (input.length !== 3) return needsImage;
      const [rows, columns] = item.poolSize;
      const { top, bottom, left, right } = typeof item.padding === 'string' ? noSides : item.padding;
      // Otherwise a window could lie wholly on padding, where neither a maximum nor an average exists.
      if (Math.max(top, bottom) >= rows || Math.max(left, right) >= columns) {
        return 'its padding must be smaller than its window';
      }
      return windowShape(input, item.poolSize, item.strides, item.padding, channels);
    }
    case 'pad': {
      const { top, bottom, left, right } = item.padding;
      return input.length === 3 ? [input[0]! + top + bottom, input[1]! + left + right, channels] : needsImage;
    }
    case 'dense':
      return input.length === 1 ? [item.units] : `expected an input [C], got [${input.join(',')}]`;
    case 'add':
      return inputs.every((shape) => shape.join() === input.join()) ? input : 'its inputs differ in shape';
    case 'concat': {
      const fits = inputs.every((shape) => shape.slice(0, -1).join() === input.slice(0, -1).join());
      const joined = inputs.reduce((total, shape) => total + shape.at(-1)!, 0);
      return fits ? [...input.slice(0, -1), joined] : 'its inputs differ in height or width';
    }
    case 'globalAveragePool':
    case 'globalMaxPool':
      return input.length === 3 ? [channels] : needsImage;
    case 'selectChannels': {
      const wrong = item.channels.find((channel) => channel >= channels);
      return wrong === undefined
        ? [...input.slice(0, -1), item.channels.length]
        : `expected channels below ${channels}, got ${wrong}`;
    }
    case 'flatten':
      return [product(input)];
    case 'reshape':
      return product(item.shape) === product(input)
        ? item.shape
        : `[${input.join(',')}] does not reshape to [${item.shape.join(',')}]`;
    default:
      return input;
  }
}
