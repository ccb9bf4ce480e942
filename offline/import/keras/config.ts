/**
 * The model config of Keras, as text in every file of it: Sequential and Functional models, nested ones flattened.
 *
 * Keras 2 (`.h5`, TFJS) writes the inputs of a call as `inbound_nodes: [[[name, node, tensor, kwargs], ...]]`; Keras 3 as
 * `[{args, kwargs}]` with `__keras_tensor__` objects, which hold `keras_history: [name, node, tensor]`.
 */
import * as z from 'zod';
import { failure, success, type Result } from '../../../src/result.ts';

/** A layer of the flattened model; `inputs` are indices of earlier layers, `IMAGES_INDEX` for the model's input. */
export type KerasLayer = {
  className: string;
  name: string;
  /** The names of the models around it, from the outside in. */
  scope: readonly string[];
  /** The group of its weights in the `model.weights.h5` of Keras 3. */
  store: string;
  config: Record<string, unknown>;
  inputs: readonly number[];
};

export type KerasModel = {
  /** Of the input, without the batch; null where the file leaves it open. */
  inputShape: readonly (number | null)[];
  layers: readonly KerasLayer[];
  output: number;
};

/** Stands for the model's input among the inputs of a layer. */
export const IMAGES_INDEX = -1;

/** The most that a model's config may be, in bytes: a layer of Keras 3 takes about two thousand. */
export const CONFIG_LIMIT_BYTES = 2 ** 23;

const MAX_LAYERS = 4096;
const MAX_DEPTH = 16;
/** More than any model has that somebody made; only the length of a message is bounded. */
const MAX_NAMED = 200;

const name = z.string().max(200);
const config = z.record(z.string(), z.unknown());
const entry = z.object({
  class_name: name,
  module: z.string().max(200).nullish(),
  name: name.nullish(),
  config,
  inbound_nodes: z.array(z.unknown()).nullish(),
});
const entries = z.array(entry).min(1).max(MAX_LAYERS);
const reference = z.tuple([name, z.int(), z.int()], z.unknown());
const references = z.union([reference.transform((one) => [one]), z.array(reference)], {
  error: 'expected a list of [layer, node, tensor]',
});
const functional = z.object({
  layers: entries,
  input_layers: references,
  output_layers: references,
});
// Keras 1 and early TFJS wrote the list of layers itself as the config of a Sequential.
const sequential = z.preprocess(
  (body) => (Array.isArray(body) ? { layers: body as unknown[] } : body),
  z.object({ layers: entries }),
);
const model = z.object({ class_name: name, config: z.unknown() });
const shape = z.array(z.int().nullable()).min(2).max(8);

type Entry = z.infer<typeof entry>;
type Walk = { layers: KerasLayer[]; unsupported: string[]; inputShape: (number | null)[] | undefined };
type Place = { scope: readonly string[]; store: string; input: number };

const MODELS = new Set(['Sequential', 'Functional', 'Model']);

/** A layer as messages name it. */
export const layerTitle = (className: string, layerName: string): string => `${className} "${layerName.slice(0, 100)}"`;

/**
 * Reads an untrusted model config; `unsupportedLayer` says of one layer why it cannot be imported, or null. The error names all
 * unsupported layers at once.
 */
export function readConfig(
  json: unknown,
  unsupportedLayer: (className: string, config: Record<string, unknown>) => string | null,
): Result<KerasModel> {
  const parsed = model.safeParse(json);
  if (!parsed.success) return failure('expected the config of a Keras model (class_name, config)');
  const { class_name: className, config: body } = parsed.data;
  if (!MODELS.has(className)) {
    return failure(
      `expected a Sequential or Functional model, got ${JSON.stringify(className)}, whose layers only its code knows`,
    );
  }
  const walk: Walk = { layers: [], unsupported: [], inputShape: undefined };
  const output = flatten(walk, className, body, { scope: [], store: '', input: IMAGES_INDEX });
  if (!output.ok) return output;
  const reasons = walk.layers.flatMap((layer) => {
    const reason = unsupportedLayer(layer.className, layer.config);
    return reason === null ? [] : [layerTitle(layer.className, layer.name) + (reason && ` (${reason})`)];
  });
  const all = [...walk.unsupported, ...reasons];
  if (all.length > 0) {
    const more = all.length > MAX_NAMED ? ` and ${all.length - MAX_NAMED} more` : '';
    return failure(`unsupported layers: ${all.slice(0, MAX_NAMED).join(', ')}${more}`);
  }
  if (!walk.inputShape) return failure('expected a model that states the shape of its input, got none');
  return success({ inputShape: walk.inputShape, layers: walk.layers, output: output.value });
}

/** Appends the layers of a model to the walk and gives the index of its output. */
function flatten(walk: Walk, className: string, body: unknown, place: Place): Result<number> {
  if (place.scope.length > MAX_DEPTH)
    return failure(`expected at most ${MAX_DEPTH} models within each other, got more`);
  if (className === 'Sequential') {
    const parsed = sequential.safeParse(body);
    return parsed.success ? flattenSequential(walk, parsed.data.layers, place) : badModel(place, parsed.error);
  }
  const parsed = functional.safeParse(body);
  return parsed.success ? flattenFunctional(walk, parsed.data, place) : badModel(place, parsed.error);
}

const inModel = ({ scope }: Place): string => (scope.length === 0 ? '' : `model "${scope.join('/').slice(0, 200)}": `);

function badModel(place: Place, { issues }: z.ZodError): Result<never> {
  const { path, message } = issues[0]!;
  return failure(`${inModel(place)}${path.join('.') || 'config'}: ${message}`);
}

function flattenSequential(walk: Walk, layers: readonly Entry[], place: Place): Result<number> {
  const stores = storeNamer(place.store);
  let output = place.input;
  for (const item of layers) {
    const added = addLayer(walk, item, [output], place, stores);
    if (!added.ok) return added;
    output = added.value;
  }
  return success(output);
}

function flattenFunctional(walk: Walk, body: z.infer<typeof functional>, place: Place): Result<number> {
  const stores = storeNamer(place.store);
  const around = inModel(place);
  const [input, output] = [body.input_layers, body.output_layers];
  if (input.length !== 1 || output.length !== 1) {
    return failure(`${around}expected one input and one output, got ${input.length} and ${output.length}`);
  }
  const calls = body.layers.map((item) => ({ item, store: stores(item), ...callOf(item) }));
  const readers = Map.groupBy(
    calls.flatMap((call) => [...new Set(call.inputs)].map((from) => ({ from, call }))),
    ({ from }) => from,
  );
  const missing = new Map(calls.map((call) => [call, new Set(call.inputs).size]));
  const ready = calls.filter((call) => missing.get(call) === 0);
  const indices = new Map<string, number>();
  for (const { item, inputs, store, problem } of ready) {
    const title = layerTitle(item.class_name, nameOf(item));
    if (problem) walk.unsupported.push(`${title} (${problem})`);
    const from = inputs.map((source) => indices.get(source)!);
    const added = addLayer(walk, item, from, place, () => store);
    if (!added.ok) return added;
    if (indices.has(nameOf(item))) return failure(`${around}layer "${nameOf(item)}": the name is used twice`);
    indices.set(nameOf(item), added.value);
    for (const { call } of readers.get(nameOf(item)) ?? []) {
      missing.set(call, missing.get(call)! - 1);
      if (missing.get(call) === 0) ready.push(call);
    }
  }
  const stuck = calls
    .filter((call) => missing.get(call)! > 0)
    .map(({ item }) => layerTitle(item.class_name, nameOf(item)));
  if (stuck.length > 0) {
    return failure(
      `${around}layers that read each other in a circle, or what is not there: ${stuck.slice(0, 20).join(', ')}`,
    );
  }
  const last = indices.get(output[0]![0]);
  return last === undefined ? failure(`${around}the output "${output[0]![0]}" is not a layer`) : success(last);
}

const nameOf = (item: Entry): string => item.name ?? name.safeParse(item.config['name']).data ?? item.class_name;

function addLayer(
  walk: Walk,
  item: Entry,
  inputs: readonly number[],
  place: Place,
  stores: (item: Entry) => string,
): Result<number> {
  const layerName = nameOf(item);
  const className = classOf(item);
  const store = stores(item);
  const stated = shape.safeParse(item.config['batch_shape'] ?? item.config['batch_input_shape']);
  if (stated.success) walk.inputShape ??= stated.data.slice(1);
  if (className === 'InputLayer') return success(place.input);
  if (MODELS.has(className)) {
    return flatten(walk, className, item.config, {
      scope: [...place.scope, layerName],
      store,
      input: inputs[0] ?? IMAGES_INDEX,
    });
  }
  if (walk.layers.length >= MAX_LAYERS) return failure(`expected at most ${MAX_LAYERS} layers, got more`);
  walk.layers.push({ className, name: layerName, scope: place.scope, store, config: item.config, inputs });
  return success(walk.layers.length - 1);
}

/** The class of a layer; one of the same name from elsewhere than Keras, or an operation, is named with its module. */
function classOf({ class_name: className, module }: Entry): string {
  if (!module || /^(tf_)?keras(\.src)?(\.(layers|models|engine)(\..*)?)?$/.test(module)) return className;
  return `${module}.${className}`;
}

/** The names of the layers that a layer is called on, and what is unsupported about the call. */
function callOf(item: Entry): { inputs: string[]; problem?: string } {
  const nodes = item.inbound_nodes ?? [];
  if (item.class_name === 'InputLayer') return { inputs: [] };
  if (nodes.length !== 1) return { inputs: [], problem: nodes.length === 0 ? 'never called' : 'called more than once' };
  const call = keras2Call.safeParse(nodes[0]).data ?? keras3Call.safeParse(nodes[0]).data;
  if (!call || call.inputs.length === 0) return { inputs: [], problem: 'called with something else than layers' };
  const inputs = call.inputs.map(([from]) => from);
  const wanted = Object.entries(call.options).find(([, value]) => value !== null && value !== false);
  if (wanted) return { inputs, problem: `called with ${wanted[0].slice(0, 100)}` };
  if (call.inputs.some(([, , tensor]) => tensor !== 0)) return { inputs, problem: 'reads a second output of a layer' };
  return { inputs };
}

const keras2Call = references.transform((inputs) => ({
  inputs,
  options: Object.assign({}, ...inputs.map((source) => config.safeParse(source[3]).data)) as Record<string, unknown>,
}));
const kerasTensor = z
  .object({ class_name: z.literal('__keras_tensor__'), config: z.object({ keras_history: reference }) })
  .transform((tensor) => tensor.config.keras_history);
const kerasTensors = z.array(kerasTensor);
const keras3Call = z
  .object({
    args: z.union([z.tuple([kerasTensors]).transform(([only]) => only), kerasTensors]),
    kwargs: config.nullish(),
  })
  // Keras 3 notes `training` as it was when the model was built, and predicts without it all the same; Keras 2 does what it says.
  .transform(({ args, kwargs }) => ({ inputs: args, options: { ...kwargs, training: false } }));

/** Names the groups of weights as Keras 3 does: by class, counted within a model; operations are not layers and have none. */
function storeNamer(store: string): (item: Entry) => string {
  const counts = new Map<string, number>();
  return (item) => {
    const base = item.class_name
      .replaceAll(/\W+/g, '')
      .replaceAll(/(.)([A-Z][a-z]+)/g, '$1_$2')
      .replaceAll(/([a-z])([A-Z])/g, '$1_$2')
      .toLowerCase();
    const count = counts.get(base) ?? 0;
    if (!item.module?.includes('.ops.')) counts.set(base, count + 1);
    return `${store}layers/${base}${count > 0 ? `_${count}` : ''}/`;
  };
}
