/**
 * Runs a network with tfjs on whatever backend is active, the same code offline and at the edge.
 *
 * Outside of gradients a convolution or dense layer runs in one kernel with its bias and activation, and an intermediate
 * result is freed after its last use. While a gradient is taken (tf.grad and its kin) every layer is made of plain
 * kernels instead: tfjs's fused kernels always compute the filter gradient, which a frozen weight does not need.
 */
import { engine, tensor, tidy, type Tensor } from '@tensorflow/tfjs-core';
import { failure, success, type Result } from '../result.ts';
import { runLayer, type Activation } from './layers.ts';
import { weightShapes, type Layer, type Network } from './network.ts';
import type { HostWeights } from './safetensors.ts';

/** Weights on the device, named as `weightShapes` names them. */
export type Weights = ReadonlyMap<string, Tensor>;

/**
 * Runs what `fetches` need, starting from `feeds` (normally `images [B,H,W,C] in 0..1`, or any other nodes), and returns
 * the fetched nodes in that order, each with the batch axis first; a node that is both fed and fetched is the fed tensor itself.
 * Throws when a fetch or feed is missing, or a weight is.
 */
export function forward(
  network: Network,
  weights: Weights,
  feeds: ReadonlyMap<string, Tensor>,
  fetches: readonly string[],
): Tensor[] {
  const plan = neededLayers(network, feeds, fetches);
  const inference = engine().state.gradientDepth === 0;
  const fusions = inference ? fusableActivations(plan, fetches) : new Map<string, Layer>();
  const lastUse = new Map(plan.flatMap((item, index) => item.inputs.map((input) => [input, index] as const)));
  const values = new Map(feeds);
  plan.forEach((item, index) => {
    if (values.has(item.name)) return; // An activation that its layer has already applied.
    const inputs = item.inputs.map((input) => values.get(input)!);
    const activation = fusions.get(item.name);
    const fusion = inference ? fusedActivation(activation) : undefined;
    const output = tidy(() => runLayer(item, inputs, weightOf(item, weights), fusion));
    values.set(activation?.name ?? item.name, output);
    if (!inference) return;
    for (const input of new Set(item.inputs)) {
      if (lastUse.get(input) === index && !feeds.has(input) && !fetches.includes(input)) values.get(input)!.dispose();
    }
  });
  return fetches.map((name) => values.get(name)!);
}

/** Puts weights on the active backend: F32 as float32, U8 and I32 as int32. */
export function toDevice(weights: HostWeights): Map<string, Tensor> {
  const entries = [...weights].map(([name, { dtype, shape, data }]) => {
    if (dtype === 'F32') return [name, tensor(data, [...shape], 'float32')] as const;
    return [name, tensor(dtype === 'I32' ? data : Int32Array.from(data), [...shape], 'int32')] as const;
  });
  return new Map(entries);
}

/** Checks that every weight of the network is there: F32, of the right shape, finite; the error names the first that is not. */
export function checkWeights(network: Network, tensors: HostWeights): Result<void> {
  for (const [name, shape] of weightShapes(network)) {
    const expected = `weights: tensor "${name}": expected F32 [${shape.join(',')}]`;
    const found = tensors.get(name);
    if (!found) return failure(`${expected}, got no such tensor`);
    if (found.dtype !== 'F32' || found.shape.join() !== shape.join()) {
      return failure(`${expected}, got ${found.dtype} [${found.shape.join(',')}]`);
    }
    const wrong = found.data.findIndex((value) => !Number.isFinite(value));
    if (wrong >= 0) return failure(`${expected} of finite numbers, got ${found.data[wrong]} at index ${wrong}`);
    if (name.endsWith('/variance') && found.data.some((value) => value < 0)) {
      return failure(`${expected} of variances, got a negative number`);
    }
  }
  return success(undefined);
}

function neededLayers(network: Network, feeds: ReadonlyMap<string, Tensor>, fetches: readonly string[]): Layer[] {
  const needed = new Set(fetches.filter((name) => !feeds.has(name)));
  const layers = network.layers.toReversed().filter((item) => {
    if (!needed.delete(item.name)) return false;
    item.inputs.filter((input) => !feeds.has(input)).forEach((input) => needed.add(input));
    return true;
  });
  const [missing] = needed;
  if (missing !== undefined) throw new Error(`forward: "${missing}" is needed, but it is neither a layer nor fed`);
  return layers.reverse();
}

/** The activation to run together with a layer, by the layer's name: its only consumer, with nobody else looking at the layer. */
function fusableActivations(plan: readonly Layer[], fetches: readonly string[]): Map<string, Layer> {
  const consumers = Map.groupBy(
    plan.flatMap((item) => item.inputs.map((input) => ({ input, item }))),
    ({ input }) => input,
  );
  const fusions = new Map<string, Layer>();
  for (const { type, name } of plan) {
    const [consumer, ...others] = consumers.get(name) ?? [];
    if ((type !== 'conv2d' && type !== 'dense') || !consumer || others.length || fetches.includes(name)) continue;
    if (['relu', 'relu6', 'elu', 'leakyRelu'].includes(consumer.item.type)) fusions.set(name, consumer.item);
  }
  return fusions;
}

function fusedActivation(item: Layer | undefined): Activation {
  if (item?.type === 'leakyRelu') return { activation: 'leakyrelu', leakyreluAlpha: item.alpha };
  return { activation: (item?.type as Activation['activation'] | undefined) ?? 'linear', leakyreluAlpha: 0 };
}

function weightOf(item: Layer, weights: Weights): (suffix: string) => Tensor {
  return (suffix) => {
    const found = weights.get(`${item.name}/${suffix}`);
    if (!found) throw new Error(`forward: weight "${item.name}/${suffix}" is missing`);
    return found;
  };
}
