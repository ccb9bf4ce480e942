/** A Keras model, whatever file it lies in, as a draft: its config, and its weights by layer. */
import { IMAGES, outputShape, type Layer, type Shape } from '../../../src/network/network.ts';
import { failure, success, type Result } from '../../../src/result.ts';
import { nodeNamer, type Draft, type DraftWeight, type GivenInput, type InputHints } from '../imported.ts';
import { IMAGES_INDEX, layerTitle, readConfig, type KerasLayer } from './config.ts';
import type { FileArray, LayerClass, Part } from './layer-class.ts';
import { LAYER_CLASSES } from './layers.ts';

/** Finds the weights of a layer in its file, in the order asked for; their names are those of Keras (`kernel`, `moving_mean`). */
export type WeightSource = (layer: KerasLayer, names: readonly string[]) => Result<FileArray[]>;

/** Turns a Keras model config and its weights into a draft; the error names every unsupported layer, or what does not fit. */
export function draftFromKeras(config: unknown, weightsOf: WeightSource, given: GivenInput): Result<Draft> {
  const model = readConfig(config, unsupportedLayer);
  if (!model.ok) return model;
  const input = inputHints(model.value.inputShape, given);
  if (!input.ok) return input;
  const { height, width, channelCount } = input.value;
  const draft: Draft = { input: input.value, layers: [], output: IMAGES, weights: new Map() };
  const images: Node = { name: IMAGES, shape: [height, width, channelCount] };
  const outputs: Node[] = [];
  const freeName = nodeNamer();
  const nodeOf = (index: number): Node => (index === IMAGES_INDEX ? images : outputs[index]!);
  for (const layer of model.value.layers) {
    const parsed = parseLayer(layer);
    const weights = weightsOf(layer, parsed.entry.weights?.(parsed.config) ?? []);
    if (!weights.ok) return weights;
    const inputs = layer.inputs.map(nodeOf);
    const parts = parsed.entry.parts(
      parsed.config,
      weights.value,
      inputs.map(({ shape }) => shape),
    );
    const appended = typeof parts === 'string' ? parts : appendParts(draft, layer, parts, inputs, freeName);
    if (typeof appended === 'string') return failure(`${layerTitle(layer.className, layer.name)}: ${appended}`);
    outputs.push(appended);
  }
  draft.output = nodeOf(model.value.output).name;
  if (takesPixels(draft.layers)) draft.input.scale = 255;
  return success(draft);
}

type Node = { name: string; shape: Shape };

/** Appends the parts of one layer, each reading the one before, and gives the node of the last. */
function appendParts(
  draft: Draft,
  { scope, name }: KerasLayer,
  parts: readonly Part[],
  inputs: readonly Node[],
  freeName: (wanted: string) => string,
): Node | string {
  const base = [...scope, name].join('/');
  let from = inputs;
  for (const [index, { body, weights }] of parts.entries()) {
    const node = freeName(index === 0 ? base : `${base}/${body.type}`);
    const layer = { ...body, name: node, inputs: from.map((input) => input.name) } as Layer;
    const shape = outputShape(
      layer,
      from.map((input) => input.shape),
    );
    if (typeof shape === 'string') return shape;
    draft.layers.push(layer);
    for (const [suffix, weight] of Object.entries<DraftWeight>(weights ?? {})) {
      draft.weights.set(`${node}/${suffix}`, weight);
    }
    from = [{ name: node, shape }];
  }
  return from[0]!;
}

/** Why a layer cannot be imported: '' where its class is unknown, null where it can be. */
function unsupportedLayer(className: string, config: Record<string, unknown>): string | null {
  const entry = LAYER_CLASSES.get(className);
  if (!entry) return '';
  const parsed = entry.config.safeParse(config);
  if (parsed.success) return null;
  const { path, message } = parsed.error.issues[0]!;
  return [path.join('.'), message].filter(Boolean).join(': ');
}

function parseLayer({ className, config }: KerasLayer): { entry: LayerClass<unknown>; config: unknown } {
  const entry = LAYER_CLASSES.get(className)!;
  return { entry, config: entry.config.parse(config) };
}

const MAX_SIZE = 65_536;

/** The size of the images: [H,W,C] or, of one channel, [H,W]. */
function inputHints(shape: readonly (number | null)[], { size }: GivenInput): Result<InputHints> {
  const [height, width, channelCount = 1] = shape;
  const stated = `its input is [${shape.map((axis) => axis ?? '?').join(',')}]`;
  if (shape.length < 2 || shape.length > 3 || channelCount === null) {
    return failure(`expected a model of images [H,W,C], but ${stated}`);
  }
  if ((!height || !width) && !size)
    return failure(`the model leaves the size of its images open (${stated}): give it with --size`);
  const hints = { height: height || size!.height, width: width || size!.width, channelCount };
  if (size && (size.height !== hints.height || size.width !== hints.width)) {
    return failure(
      `--size: expected ${hints.height} x ${hints.width}, because ${stated}, got ${size.height} x ${size.width}`,
    );
  }
  if ([hints.height, hints.width, channelCount].some((axis) => axis < 1 || axis > MAX_SIZE)) {
    return failure(`expected sizes in 1..${MAX_SIZE}, but ${stated}`);
  }
  return success({ ...hints, layout: 'nhwc' });
}

/** Whether the model itself scales pixels in 0..255 first: values in 0..1 do not spread by more than 2. */
function takesPixels(layers: readonly Layer[]): boolean {
  const readers = layers.filter(({ inputs }) => inputs.some((name) => name === IMAGES));
  const [first] = readers;
  return readers.length === 1 && first?.type === 'normalize' && first.std.some((value) => value > 2);
}
