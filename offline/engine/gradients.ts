/**
 * Gradients that tfjs refuses, gets wrong or makes slow, for every backend: dilated convolutions (refused), average pooling
 * with padding (its gradient divides by the whole window although the forward pass averages over the pixels inside the image
 * only), and batch normalisation (tiles its statistics to the size of the activations).
 */
import {
  add,
  backend_util,
  broadcast_util,
  engine,
  mul,
  neg,
  pad as padTensor,
  registerGradient,
  reshape,
  rsqrt,
  slice,
  stridedSlice,
  sub,
  sum,
  tensor4d,
  type NamedAttrMap,
  type Tensor,
  type Tensor4D,
} from '@tensorflow/tfjs-core';

type Pair = [number, number];
/** What tfjs says of a pool, beside its tensors. */
export type PoolAttributes = {
  filterSize: Pair | number;
  strides: Pair | number;
  pad: 'same' | 'valid' | number | backend_util.ExplicitPadding;
  dimRoundingMode?: 'floor' | 'round' | 'ceil';
};

/** Registers the gradients in place of tfjs's own. */
export function registerGradients(): void {
  registerConvolutionGradient('Conv2D', 'Conv2DBackpropInput', 'Conv2DBackpropFilter');
  registerConvolutionGradient(
    'DepthwiseConv2dNative',
    'DepthwiseConv2dNativeBackpropInput',
    'DepthwiseConv2dNativeBackpropFilter',
  );
  registerGradient({
    kernelName: 'AvgPool',
    inputsToSave: ['x'],
    gradFunc: (dy, saved, attributes) => ({
      x: () => averagePoolGradient(dy as Tensor4D, saved[0] as Tensor4D, attributes as unknown as PoolAttributes),
    }),
  });
  registerGradient({
    kernelName: 'FusedBatchNorm',
    inputsToSave: ['x', 'mean', 'variance', 'scale'],
    gradFunc: (dy, saved, attributes) => batchNormGradient(dy as Tensor, saved, Number(attributes['varianceEpsilon'])),
  });
}

/** Puts `rows` - 1 and `columns` - 1 zeros between the rows and columns of `x` [B,H,W,C]. */
export function spread(x: Tensor4D, rows: number, columns: number): Tensor4D {
  if (rows === 1 && columns === 1) return x;
  const [batch, height, width, channels] = x.shape;
  const padColumns = (values: Tensor, zeros: number): Tensor =>
    padTensor(values, [
      [0, 0],
      [0, zeros],
    ]);
  const wide = padColumns(reshape(x, [batch * height * width, channels]), (columns - 1) * channels);
  const rowSize = width * columns * channels;
  const high = padColumns(reshape(wide, [batch * height, rowSize]), (rows - 1) * rowSize);
  const full: Tensor4D = reshape(high, [batch, height * rows, width * columns, channels]);
  return slice(full, [0, 0, 0, 0], [batch, (height - 1) * rows + 1, (width - 1) * columns + 1, channels]);
}

/** A dilated convolution has the gradients of the plain one with zeros between the filter's taps. */
function registerConvolutionGradient(kernelName: string, inputKernel: string, filterKernel: string): void {
  registerGradient({
    kernelName,
    inputsToSave: ['x', 'filter'],
    gradFunc: (dy, saved, attributes) => {
      const [x, filter] = saved as [Tensor4D, Tensor4D];
      const [height, width, channels, last] = filter.shape;
      const dilations = (attributes['dilations'] ?? 1) as Pair | number;
      const [rows, columns] = typeof dilations === 'number' ? [dilations, dilations] : dilations;
      const plain = { ...attributes, dilations: 1 };
      const wideShape: [number, number, number, number] = [
        (height - 1) * rows + 1,
        (width - 1) * columns + 1,
        channels,
        last,
      ];
      return {
        x: () => {
          const flat: Tensor4D = reshape(filter, [1, height, width, channels * last]);
          const wide = reshape(spread(flat, rows, columns), wideShape);
          const call: NamedAttrMap = { ...plain, inputShape: x.shape };
          return engine().runKernel<Tensor>(inputKernel, { dy: dy as Tensor, filter: wide }, call);
        },
        filter: () => {
          const call: NamedAttrMap = { ...plain, filterShape: wideShape };
          const wide = engine().runKernel<Tensor>(filterKernel, { x, dy: dy as Tensor }, call);
          return rows === 1 && columns === 1
            ? wide
            : stridedSlice(wide, [0, 0, 0, 0], wideShape, [rows, columns, 1, 1]);
        },
      };
    },
  });
}

function averagePoolGradient(dy: Tensor4D, x: Tensor4D, attributes: PoolAttributes): Tensor {
  const { filterSize, strides, pad, dimRoundingMode } = attributes;
  const info = backend_util.computePool2DInfo(x.shape, filterSize, strides, 1, pad, dimRoundingMode);
  const { outHeight, outWidth, filterHeight, filterWidth, padInfo } = info;
  // The share of each window that lies inside the image, along one axis.
  const shares = (count: number, stride: number, window: number, before: number, size: number): number[] =>
    Array.from({ length: count }, (_, index) => {
      const start = index * stride - before;
      return (Math.min(size, start + window) - Math.max(0, start)) / window;
    });
  const down = shares(outHeight, info.strideHeight, filterHeight, padInfo.top, info.inHeight);
  const across = shares(outWidth, info.strideWidth, filterWidth, padInfo.left, info.inWidth);
  const padded = padInfo.type !== 'VALID';
  const weights = down.flatMap((row) => across.map((column) => 1 / (row * column)));
  const weighted = padded ? mul(dy, tensor4d(weights, [1, outHeight, outWidth, 1])) : dy;
  return engine().runKernel<Tensor>('AvgPoolGrad', { dy: weighted, input: x }, {
    filterSize,
    strides,
    pad,
  } as NamedAttrMap);
}

/** Ioffe and Szegedy, arXiv 1502.03167, section 3, with mean and variance as inputs of their own; tfjs differentiates no call without a scale. */
function batchNormGradient(dy: Tensor, saved: Tensor[], epsilon: number): Record<string, () => Tensor> {
  const [x, mean, variance, scale] = saved as [Tensor, Tensor, Tensor, Tensor];
  const axes = broadcast_util.getReductionAxes(mean.shape, x.shape);
  const total = (values: Tensor): Tensor => reshape(sum(values, axes), mean.shape);
  const inverse = (): Tensor => rsqrt(add(variance, epsilon));
  const factor = (): Tensor => mul(scale, inverse());
  const centred = (): Tensor => total(mul(dy, sub(x, mean)));
  return {
    x: () => mul(dy, factor()),
    mean: () => neg(mul(total(dy), factor())),
    variance: () => mul(mul(centred(), factor()), mul(mul(inverse(), inverse()), -0.5)),
    scale: () => mul(centred(), inverse()),
    offset: () => total(dy),
  };
}
