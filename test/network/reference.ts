/** The slow obvious network: plain loops in float64, one image at a time, written from the definitions and not from forward.ts. */
import { IMAGES, type Layer, type Network, type Shape } from '../../src/network/network.ts';
import type { HostWeights } from '../../src/network/safetensors.ts';

export type Value = { shape: Shape; data: Float64Array };
type Sides = { top: number; bottom: number; left: number; right: number };
type Pair = readonly [number, number];
type Weigh = (suffix: string) => ArrayLike<number>;

/** Every node's value for one image [H,W,C], by name. */
export function referenceForward(
  network: Network,
  weights: HostWeights,
  image: ArrayLike<number>,
): ReadonlyMap<string, Value> {
  const { height, width, channels } = network.input;
  const start = { shape: [height, width, channels], data: Float64Array.from(image) };
  const values = new Map<string, Value>([[IMAGES, start]]);
  for (const item of network.layers) {
    const inputs = item.inputs.map((name) => values.get(name)!);
    values.set(
      item.name,
      layerOutput(item, inputs, (suffix) => weights.get(`${item.name}/${suffix}`)!.data),
    );
  }
  return values;
}

function layerOutput(item: Layer, inputs: readonly Value[], weight: Weigh): Value {
  const x = inputs[0]!;
  const channels = x.shape.at(-1)!;
  switch (item.type) {
    case 'normalize':
      return each(x, (value, c) => (value - item.mean[c]!) / item.std[c]!);
    case 'conv2d':
      return convolve(item, x, weight('kernel'), item.bias ? weight('bias') : undefined);
    case 'batchNorm': {
      const [gamma, beta, mean, variance] = [weight('gamma'), weight('beta'), weight('mean'), weight('variance')];
      return each(
        x,
        (value, c) => ((value - mean[c]!) / Math.sqrt(variance[c]! + item.epsilon)) * gamma[c]! + beta[c]!,
      );
    }
    case 'dense': {
      const kernel = weight('kernel');
      const bias = item.bias ? weight('bias') : undefined;
      return make([item.units], (unit) => {
        let sum = bias?.[unit!] ?? 0;
        for (let c = 0; c < channels; c += 1) sum += x.data[c]! * kernel[c * item.units + unit!]!;
        return sum;
      });
    }
    case 'add':
      return {
        shape: x.shape,
        data: x.data.map((_, index) => inputs.reduce((sum, { data }) => sum + data[index]!, 0)),
      };
    case 'concat': {
      const rows = x.data.length / channels;
      const data = Array.from({ length: rows }, (_, row) =>
        inputs.flatMap(({ shape, data: part }) =>
          Array.from(part.subarray(row * shape.at(-1)!, (row + 1) * shape.at(-1)!)),
        ),
      );
      return {
        shape: [...x.shape.slice(0, -1), inputs.reduce((sum, { shape }) => sum + shape.at(-1)!, 0)],
        data: Float64Array.from(data.flat()),
      };
    }
    case 'pad': {
      const { top, bottom, left, right } = item.padding;
      return make([x.shape[0]! + top + bottom, x.shape[1]! + left + right, channels], (row, column, c) =>
        at(x, row! - top, column! - left, c!, 0),
      );
    }
    case 'maxPool':
    case 'averagePool':
      return pool(item, x);
    case 'globalAveragePool':
      return make(
        [channels],
        (c) => channel(x, c!).reduce((sum, value) => sum + value, 0) / (x.data.length / channels),
      );
    case 'globalMaxPool':
      return make([channels], (c) => Math.max(...channel(x, c!)));
    case 'selectChannels': {
      const data = Array.from({ length: x.data.length / channels }, (_, row) =>
        item.channels.map((c) => x.data[row * channels + c]!),
      );
      return { shape: [...x.shape.slice(0, -1), item.channels.length], data: Float64Array.from(data.flat()) };
    }
    case 'flatten':
      return { shape: [x.data.length], data: x.data };
    case 'reshape':
      return { shape: item.shape, data: x.data };
    case 'softmax': {
      const rows = x.data.length / channels;
      const row = (index: number): Float64Array => x.data.slice(index * channels, (index + 1) * channels);
      const data = Array.from({ length: rows }, (_, index) => {
        const powers = [...row(index)].map((value) => Math.exp(value));
        return powers.map((power) => power / powers.reduce((sum, other) => sum + other, 0));
      });
      return { shape: x.shape, data: Float64Array.from(data.flat()) };
    }
    case 'leakyRelu':
      return each(x, (value) => (value > 0 ? value : item.alpha * value));
    default:
      return each(x, activations[item.type]);
  }
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

const activations = {
  relu: (x: number) => Math.max(0, x),
  relu6: (x: number) => Math.min(6, Math.max(0, x)),
  elu: (x: number) => (x > 0 ? x : Math.exp(x) - 1),
  selu: (x: number) => 1.0507009873554805 * (x > 0 ? x : 1.6732632423543772 * (Math.exp(x) - 1)),
  sigmoid,
  tanh: Math.tanh,
  swish: (x: number) => x * sigmoid(x),
  hardSwish: (x: number) => (x <= -3 ? 0 : x >= 3 ? x : (x * (x + 3)) / 6),
  gelu: (x: number) => (x * (1 + erf(x / Math.SQRT2))) / 2,
  geluTanh: (x: number) => (x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))) / 2,
};

/** The error function by its Maclaurin series, good to 1e-9 for |x| < 4. */
function erf(x: number): number {
  let [term, sum] = [x, x];
  for (let n = 1; n < 120; n += 1) {
    term *= (-x * x) / n;
    sum += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * sum;
}

function convolve(
  item: Extract<Layer, { type: 'conv2d' }>,
  x: Value,
  kernel: ArrayLike<number>,
  bias: ArrayLike<number> | undefined,
): Value {
  const { filters, groups, strides, dilations, kernelSize } = item;
  const reach: Pair = [(kernelSize[0] - 1) * dilations[0] + 1, (kernelSize[1] - 1) * dilations[1] + 1];
  const sides = sidesOf(item.padding, x.shape, reach, strides);
  const depth = x.shape[2]! / groups;
  return make([...windows(x.shape, sides, reach, strides), filters], (row, column, f) => {
    const group = Math.floor(f! / (filters / groups));
    let sum = bias?.[f!] ?? 0;
    for (let i = 0; i < kernelSize[0]; i += 1) {
      for (let j = 0; j < kernelSize[1]; j += 1) {
        for (let c = 0; c < depth; c += 1) {
          const y = row! * strides[0] - sides.top + i * dilations[0];
          const z = column! * strides[1] - sides.left + j * dilations[1];
          sum += at(x, y, z, group * depth + c, 0) * kernel[((i * kernelSize[1] + j) * depth + c) * filters + f!]!;
        }
      }
    }
    return sum;
  });
}

function pool(item: Extract<Layer, { poolSize: unknown }>, x: Value): Value {
  const sides = sidesOf(item.padding, x.shape, item.poolSize, item.strides);
  return make([...windows(x.shape, sides, item.poolSize, item.strides), x.shape[2]!], (row, column, c) => {
    const found: number[] = [];
    for (let i = 0; i < item.poolSize[0]; i += 1) {
      for (let j = 0; j < item.poolSize[1]; j += 1) {
        const value = at(
          x,
          row! * item.strides[0] - sides.top + i,
          column! * item.strides[1] - sides.left + j,
          c!,
          NaN,
        );
        if (!Number.isNaN(value)) found.push(value);
      }
    }
    return item.type === 'maxPool' ? Math.max(...found) : found.reduce((sum, value) => sum + value, 0) / found.length;
  });
}

/** TensorFlow's "same": ceil(n / s) windows, the padding they need split with the odd one after. */
function sidesOf(padding: 'same' | 'valid' | Sides, shape: Shape, window: Pair, strides: Pair): Sides {
  if (padding === 'valid') return { top: 0, bottom: 0, left: 0, right: 0 };
  if (padding !== 'same') return padding;
  const [down, across] = [0, 1].map((axis) => {
    const count = Math.ceil(shape[axis]! / strides[axis]!);
    return Math.max(0, (count - 1) * strides[axis]! + window[axis]! - shape[axis]!);
  }) as [number, number];
  const [top, left] = [Math.floor(down / 2), Math.floor(across / 2)];
  return { top, bottom: down - top, left, right: across - left };
}

function windows(shape: Shape, sides: Sides, window: Pair, strides: Pair): [number, number] {
  const rows = Math.floor((shape[0]! + sides.top + sides.bottom - window[0]) / strides[0]) + 1;
  const columns = Math.floor((shape[1]! + sides.left + sides.right - window[1]) / strides[1]) + 1;
  return [rows, columns];
}

function at({ shape, data }: Value, row: number, column: number, c: number, outside: number): number {
  if (row < 0 || column < 0 || row >= shape[0]! || column >= shape[1]!) return outside;
  return data[(row * shape[1]! + column) * shape[2]! + c]!;
}

const channel = ({ shape, data }: Value, c: number): Float64Array =>
  data.filter((_, index) => c === index % shape.at(-1)!);

const each = ({ shape, data }: Value, f: (value: number, channel: number) => number): Value => ({
  shape,
  data: data.map((value, index) => f(value, index % shape.at(-1)!)),
});

/** A value of the given shape from a function of its indices. */
function make(shape: Shape, f: (...indices: number[]) => number): Value {
  const data = new Float64Array(shape.reduce((total, axis) => total * axis, 1));
  data.forEach((_, index) => {
    const indices = shape.map((size, axis) => {
      const after = shape.slice(axis + 1).reduce((total, other) => total * other, 1);
      return Math.floor(index / after) % size;
    });
    data[index] = f(...indices);
  });
  return { shape, data };
}
