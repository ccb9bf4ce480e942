/**
 * Folds batch norm into the layer before it: with s = gamma / sqrt(variance + epsilon), the layer w*x + b followed by
 * batch norm is (s w)*x + s (b - mean) + beta. Exact but for rounding; computed in float64, stored in float32.
 */
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

  const scale = Array.from(gamma, (value, unit) => value / Math.sqrt(variance[unit]! + norm.epsilon));
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

type Values = HostTensor['data'];
