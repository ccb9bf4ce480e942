/**
 * Folds batch norm into the layer before it: with s = gamma / sqrt(variance + epsilon), the layer w*x + b followed by
 * batch norm is (s w)*x + s (b - mean) + beta. Exact but for rounding; computed in float64, stored in float32.
 */
import { failure, success, type Result } from '../result.ts';
import type { Layer, Network } from './network.ts';
import type { HostTensor, HostWeights } from './safetensors.ts';

type Weighted = Extract<Layer, { type: 'conv2d' | 'dense' }>;
type BatchNorm = Extract<Layer, { type: 'batchNorm' }>;

/**
 * The same network with every batch norm gone that follows a conv2d or dense layer nothing else reads; the merged layer takes
 * the batch norm's name, so that every node that is left keeps its value. Other batch norms stay as they are, because padding or
 * an activation lies between them and the next weights. Weights of other names are passed on; a missing weight throws.
 */
export function foldBatchNorm(network: Network, weights: HostWeights): { network: Network; weights: HostWeights } {
  const foldedWeights = new Map(weights);
  let layers = network.layers;
  for (const norm of network.layers) {
    if (norm.type !== 'batchNorm') continue;
    const [input] = norm.inputs;
    const before = layers.find(({ name }) => name === input);
    const readers = layers.filter((item) => item.inputs.some((name) => name === input)).length;
    if (before?.type !== 'conv2d' && before?.type !== 'dense') continue;
    if (readers > 1 || network.output === input) continue;
    mergeWeights(foldedWeights, before, norm);
    const merged: Layer = { ...before, name: norm.name, bias: true };
    layers = layers.filter((item) => item !== norm).map((item) => (item === before ? merged : item));
  }
  return { network: { ...network, layers }, weights: foldedWeights };
}

function mergeWeights(weights: Map<string, HostTensor>, before: Weighted, norm: BatchNorm): void {
  const take = (name: string): HostTensor => {
    const found = weights.get(name);
    if (!found) throw new Error(`fold: weight "${name}" is missing`);
    weights.delete(name);
    return found;
  };
  const [gamma, beta, mean, variance] = ['gamma', 'beta', 'mean', 'variance'].map(
    (suffix) => take(`${norm.name}/${suffix}`).data,
  ) as [Values, Values, Values, Values];
  const kernel = take(`${before.name}/kernel`);
  const bias = before.bias ? take(`${before.name}/bias`).data : undefined;

  const scale = scaleOf(norm, gamma, variance);
  const units = scale.length;
  weights.set(`${norm.name}/kernel`, {
    dtype: 'F32',
    shape: kernel.shape,
    data: Float32Array.from(kernel.data, (value, index) => value * scale[index % units]!),
  });
  weights.set(`${norm.name}/bias`, {
    dtype: 'F32',
    shape: [units],
    data: Float32Array.from(scale, (value, unit) => value * ((bias?.[unit] ?? 0) - mean[unit]!) + beta[unit]!),
  });
}

const scaleOf = ({ epsilon }: BatchNorm, gamma: Values, variance: Values): number[] =>
  Array.from(gamma, (value, unit) => value / Math.sqrt(variance[unit]! + epsilon));

/**
 * The way back: the weights of the network as it was, with its batch norms, that fold to `purified` (the weights of the folded
 * network, or changed ones). Only what changed is computed, as a difference: a kernel takes its change divided by s, a bias gives its
 * change to beta; every other number keeps its bits. Fails, naming the layer, where s is 0 and a kernel changed.
 */
export function unfoldBatchNorm(network: Network, weights: HostWeights, purified: HostWeights): Result<HostWeights> {
  const layers = new Map(network.layers.map((item) => [item.name, item]));
  const unfolded = new Map(weights);
  for (const [name, before] of foldBatchNorm(network, weights).weights) {
    const after = purified.get(name);
    if (!after) throw new Error(`fold: weight "${name}" is missing`);
    const changes = Float64Array.from(after.data, (value, index) => value - before.data[index]!);
    if (changes.every((change) => change === 0)) continue;
    const [layer, suffix] = splitName(name);
    let item = layers.get(layer);
    if (item?.type !== 'batchNorm' || (suffix !== 'kernel' && suffix !== 'bias')) {
      unfolded.set(name, after);
      continue;
    }
    if (suffix === 'kernel') {
      for (; item?.type === 'batchNorm'; item = layers.get(item.inputs[0])) {
        const [gamma, variance] = [weights.get(`${item.name}/gamma`)!, weights.get(`${item.name}/variance`)!];
        const scale = scaleOf(item, gamma.data, variance.data);
        changes.forEach((change, index) => change !== 0 && (changes[index] = change / scale[index % scale.length]!));
      }
    }
    const target = suffix === 'kernel' ? `${item!.name}/kernel` : `${layer}/beta`;
    const changed = withChanges(weights.get(target)!, changes);
    if (!changed.data.every(Number.isFinite)) {
      return failure(`layer "${layer}": its batch norm scales by 0, so that no weights before it give the new ones`);
    }
    unfolded.set(target, changed);
  }
  return success(unfolded);
}

function splitName(weight: string): [layer: string, suffix: string] {
  const end = weight.lastIndexOf('/');
  return [weight.slice(0, end), weight.slice(end + 1)];
}

function withChanges({ shape, data }: HostTensor, changes: Float64Array): HostTensor {
  return { dtype: 'F32', shape, data: Float32Array.from(data, (value, index) => value + changes[index]!) };
}

type Values = HostTensor['data'];
