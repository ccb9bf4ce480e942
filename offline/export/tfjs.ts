/** A model as a folder for `tf.loadLayersModel`: a Functional model of Keras 2 in model.json, and its weights in shards of 4 MiB. */
import { headLayers } from '../../src/network/cuts.ts';
import { IMAGES, nodeShapes, weightShapes, type Shape } from '../../src/network/network.ts';
import { encodeText } from '../../src/release/encoding.ts';
import { failure, success, type Result } from '../../src/result.ts';
import { MODEL_LIMIT_BYTES, nodeNamer } from '../import/imported.ts';
import type { Model } from '../model.ts';
import { addLayer, type KerasWeight, type Run } from './keras-layers.ts';

const SHARD_BYTES = 2 ** 22;
const FLOAT_BYTES = 4;
/** Layers whose output is never below zero. */
const POSITIVE = ['relu', 'relu6', 'sigmoid', 'softmax'];

type KerasLayer = {
  name: string;
  className: string;
  inputs: readonly string[];
  config: Readonly<Record<string, unknown>>;
  weights: readonly KerasWeight[];
  /** The layer of the network that it is a part of. */
  part: string;
};

/**
 * The files of a TensorFlow.js LayersModel that takes `images [B,H,W,C] in 0..1` and gives the logits [B,K]; the label names lie
 * in its metadata. Fails when Keras would have to write out more than MODEL_LIMIT_BYTES of zeros that the network does without;
 * the error names all layers that would grow.
 */
export function encodeTfjs(model: Model): Result<Map<string, Uint8Array>> {
  const { layers, output } = kerasLayers(model);
  const growth = checkGrowth(model, layers);
  if (!growth.ok) return growth;
  const weights = layers.flatMap(({ name, weights: own }) =>
    own.map((one) => ({ ...one, name: `${name}/${one.name}` })),
  );
  const sizeBytes = weights.reduce((total, { shape }) => total + product(shape) * FLOAT_BYTES, 0);
  const bytes = new Uint8Array(sizeBytes);
  let end = 0;
  for (const { values } of weights) {
    const { buffer, byteOffset, byteLength } = values();
    bytes.set(new Uint8Array(buffer, byteOffset, byteLength), end);
    end += byteLength;
  }
  const count = Math.ceil(sizeBytes / SHARD_BYTES);
  const shards = Array.from({ length: count }, (_, index): [string, Uint8Array] => {
    const name = `group1-shard${index + 1}of${count}.bin`;
    return [name, bytes.subarray(index * SHARD_BYTES, (index + 1) * SHARD_BYTES)];
  });
  const specs = weights.map(({ name, shape }) => ({ name, shape, dtype: 'float32' }));
  const json = {
    format: 'layers-model',
    generatedBy: 'trigger-guard',
    convertedBy: null,
    modelTopology: topology(model, layers, output),
    weightsManifest: [{ paths: shards.map(([name]) => name), weights: specs }],
    userDefinedMetadata: { labelNames: model.network.labelNames },
  };
  return success(new Map([['model.json', encodeText(`${JSON.stringify(json)}\n`)], ...shards]));
}

/** The layers in Keras's terms, in order, and the name of the one that gives the logits. */
function kerasLayers({ network, weights }: Model): { layers: KerasLayer[]; output: string } {
  const shapes = nodeShapes(network);
  if (!shapes.ok) throw new Error(shapes.error);
  const layers: KerasLayer[] = [];
  const names = new Map([[IMAGES, IMAGES]]);
  const positive = new Set([IMAGES]);
  const unused = nodeNamer();
  for (const item of headLayers(network, IMAGES)) {
    const run: Run = (className, inputs, config = {}, kernels = []) => {
      const name = unused(kerasName(`${item.name}_${className}`));
      layers.push({ name, className, inputs, config, weights: kernels, part: item.name });
      return name;
    };
    addLayer(run, item, {
      inputs: item.inputs.map((input) => names.get(input)!),
      shape: shapes.value.get(item.inputs[0]!)!,
      outputShape: shapes.value.get(item.name)!,
      positive: item.inputs.every((input) => positive.has(input)),
      weight: (suffix) => weights.get(`${item.name}/${suffix}`)!.data as Float32Array,
    });
    const name = unused(kerasName(item.name));
    layers.at(-1)!.name = name;
    names.set(item.name, name);
    if (POSITIVE.includes(item.type)) positive.add(item.name);
  }
  return { layers, output: names.get(network.output)! };
}

/** tfjs takes only such names for weights, and Keras 3 none with a slash. */
const kerasName = (name: string): string => name.replaceAll(/[^\w.-]/g, '_').replace(/^[_-]/, 'layer$&');

function topology({ network }: Model, layers: readonly KerasLayer[], output: string): object {
  const { height, width, channels } = network.input;
  const image = { batch_input_shape: [null, height, width, channels], dtype: 'float32', sparse: false, name: IMAGES };
  const nodes = layers.map(({ name, className, inputs, config }) => ({
    class_name: className,
    name,
    config: { name, trainable: true, dtype: 'float32', ...config },
    inbound_nodes: [inputs.map((input) => [input, 0, 0, {}])],
  }));
  const config = {
    name: 'classifier',
    layers: [{ class_name: 'InputLayer', name: IMAGES, config: image, inbound_nodes: [] }, ...nodes],
    input_layers: [[IMAGES, 0, 0]],
    output_layers: [[output, 0, 0]],
  };
  return { keras_version: '2.15.0', backend: 'tensorflow', model_config: { class_name: 'Functional', config } };
}

/** Complains when the layers put together from others would hold far more weights than the network's own. */
function checkGrowth({ network }: Model, layers: readonly KerasLayer[]): Result<void> {
  const own = new Map(network.layers.map(({ name }) => [name, 0]));
  for (const [name, shape] of weightShapes(network)) {
    const layer = name.slice(0, name.lastIndexOf('/'));
    own.set(layer, own.get(layer)! + product(shape));
  }
  const written = Map.groupBy(layers, ({ part }) => part);
  const grown = network.layers.flatMap(({ name, type }) => {
    const weights = (written.get(name) ?? []).flatMap((layer) => layer.weights);
    const addedBytes = (weights.reduce((total, { shape }) => total + product(shape), 0) - own.get(name)!) * FLOAT_BYTES;
    return addedBytes > 2 ** 20 ? [{ text: `"${name}" (${type})`, addedBytes }] : [];
  });
  const addedBytes = grown.reduce((total, layer) => total + layer.addedBytes, 0);
  if (addedBytes <= MODEL_LIMIT_BYTES) return success(undefined);
  const listed = grown.map(({ text }) => text).join(', ');
  return failure(
    `export to tfjs: expected at most ${MODEL_LIMIT_BYTES} bytes of zeros, got ${addedBytes} in layers ${listed}`,
  );
}

const product = (shape: Shape): number => shape.reduce((total, axis) => total * axis, 1);
