/**
 * Gradient kernels for the tfjs WASM backend, which lacks them or has them in slow scalar code.
 *
 * The convolution gradients are convolutions themselves (Dumoulin and Visin, "A guide to convolution arithmetic for deep
 * learning", arXiv 1603.07285, sections 4.3-4.5), so they run on the backend's fast forward kernel: the filter gradient
 * convolves the transposed images with the output gradient as the filter, the stride becoming the dilation; the input
 * gradient convolves the output gradient with the flipped filter. With a stride it has a kernel of its own (convolution-kernels.ts).
 * Depthwise filter gradients and some others are plain loops over the WASM heap (heap-kernels.ts).
 */
import {
  type backend_util,
  conv2d,
  depthwiseConv2d,
  engine,
  getKernel,
  registerKernel,
  reshape,
  slice,
  sum,
  tidy,
  transpose,
  unregisterKernel,
  util,
  type DataType,
  type NamedAttrMap,
  type Tensor,
  type Tensor4D,
  type TensorInfo,
} from '@tensorflow/tfjs-core';
import type { BackendWasm } from '@tensorflow/tfjs-backend-wasm';
import { convolutionInfo, type Conv2DInfo, type ConvolutionAttributes, type Shape4D } from './convolution.ts';
import { spread } from './gradients.ts';
import { depthwiseFilterGradient, flipTaps, repeatAxes, sumRows, sumSegments } from './heap-kernels.ts';
import { wrapKernel } from './wrap-kernel.ts';

type Inputs = Record<string, Tensor>;
type Border = [before: number, after: number];
type Attributes = ConvolutionAttributes & {
  inputShape: Shape4D;
  filterShape: Shape4D;
  numSegments: number;
  dtype: DataType;
  reps: number[];
};
type Convolve = (inputs: Inputs, attributes: NamedAttrMap) => Tensor4D;
type Kernel = (inputs: Inputs, attributes: Attributes, backend: BackendWasm) => TensorInfo;

/** Registers the gradient kernels on the WASM backend, in place of its own; call it before the backend is opened. */
export function registerGradientKernels(): void {
  // What the project's own kernels leave to the backend stays there whole: they round otherwise.
  const ownConvolution = getKernel('Conv2D', 'wasm').kernelFunc;
  replaceKernel('Conv2DBackpropFilter', ({ x, dy }, attributes, backend) => {
    const convolve: Convolve = (inputs, attrs) => asTensor(ownConvolution({ inputs, attrs, backend }) as TensorInfo);
    const info = convolutionInfo(x!.shape as Shape4D, attributes.filterShape, attributes, false);
    return tidy(() => filterGradient(x as Tensor4D, dy as Tensor4D, info, convolve));
  });
  replaceKernel('Conv2DBackpropInput', ({ dy, filter }, attributes, backend) => {
    const info = convolutionInfo(attributes.inputShape, filter!.shape as Shape4D, attributes, false);
    return tidy(() => inputGradient(dy as Tensor4D, filter as Tensor4D, info, backend));
  });
  replaceKernel('DepthwiseConv2dNativeBackpropFilter', ({ x, dy }, attributes, backend) => {
    const info = convolutionInfo(x!.shape as Shape4D, attributes.filterShape, attributes, true);
    return depthwiseFilterGradient(x!, dy!, info, backend);
  });
  replaceKernel('DepthwiseConv2dNativeBackpropInput', ({ dy, filter }, attributes, backend) => {
    const info = convolutionInfo(attributes.inputShape, filter!.shape as Shape4D, attributes, true);
    return tidy(() => depthwiseInputGradient(dy as Tensor4D, filter as Tensor4D, info, backend));
  });
  replaceKernel('UnsortedSegmentSum', ({ x, segmentIds }, { numSegments }, backend) =>
    sumSegments(x!, segmentIds!, numSegments, backend),
  );
  // The backend's own Identity copies, and every tensor that a gradient needs is cloned once.
  replaceKernel('Identity', ({ x }, _attributes, backend) => share(x!, backend));
  // So does its Cast, although most casts in gradients are from float32 to float32.
  const cast = getKernel('Cast', 'wasm').kernelFunc;
  replaceKernel('Cast', ({ x }, attributes, backend) =>
    x!.dtype === attributes.dtype
      ? share(x!, backend)
      : (cast({ inputs: { x: x! }, attrs: { dtype: attributes.dtype }, backend }) as TensorInfo),
  );
  replaceKernel('Tile', ({ x }, { reps }, backend) => repeatAxes(x!, reps, backend));
  replaceReduction('Sum', () => 1);
  replaceReduction('Mean', (rows) => rows);
  replaceMatMul();
}

function replaceKernel(kernelName: string, kernel: Kernel): void {
  if (getKernel(kernelName, 'wasm')) unregisterKernel(kernelName, 'wasm');
  registerKernel({
    kernelName,
    backendName: 'wasm',
    kernelFunc: ({ inputs, attrs, backend }) =>
      kernel(inputs as Inputs, attrs as unknown as Attributes, backend as BackendWasm),
  });
}

function share({ dataId, shape, dtype }: TensorInfo, backend: BackendWasm): TensorInfo {
  backend.incRef(dataId);
  return { dataId, shape, dtype };
}

/** Crops where a border is negative; the padding that remains is explicit padding for a convolution. */
function fitBorders(x: Tensor4D, rows: Border, columns: Border): [Tensor4D, backend_util.ExplicitPadding] {
  const [batch, height, width, channels] = x.shape;
  const padding = ([before, after]: Border): Border => [Math.max(0, before), Math.max(0, after)];
  const cropped = ([before, after]: Border): number => Math.min(0, before) + Math.min(0, after);
  const begin: Shape4D = [0, Math.max(0, -rows[0]), Math.max(0, -columns[0]), 0];
  const size: Shape4D = [batch, height + cropped(rows), width + cropped(columns), channels];
  const whole = size[1] === height && size[2] === width;
  return [whole ? x : slice(x, begin, size), [[0, 0], padding(rows), padding(columns), [0, 0]]];
}

/** The gradient [kh,kw,C,O] of a convolution's filter: images and output gradient convolved with the batch as channels. */
function filterGradient(x: Tensor4D, dy: Tensor4D, info: Conv2DInfo, convolve: Convolve): Tensor4D {
  const { strideHeight, strideWidth, filterHeight, filterWidth, padInfo } = info;
  // What the last window leaves unread at the far border would give rows beyond the filter, hence the crop.
  const rows = filterHeight - 1 + (info.outHeight - 1) * strideHeight + 1 - info.inHeight - padInfo.top;
  const columns = filterWidth - 1 + (info.outWidth - 1) * strideWidth + 1 - info.inWidth - padInfo.left;
  const images = transpose(x, [3, 1, 2, 0]);
  const filter = transpose(dy, [1, 2, 0, 3]);
  const [fitted, padding] = fitBorders(images, [padInfo.top, rows], [padInfo.left, columns]);
  const dilations = [strideHeight, strideWidth];
  const gradient = convolve({ x: fitted, filter }, { strides: 1, pad: padding, dataFormat: 'NHWC', dilations });
  return transpose(gradient, [1, 2, 0, 3]);
}

/** The borders that make a stride-1 convolution of the spread output gradient as large as the input. */
function inputBorders(info: Conv2DInfo): { rows: Border; columns: Border } {
  const { padInfo, strideHeight, strideWidth, filterHeight, filterWidth } = info;
  const bottom = info.inHeight - 1 - (info.outHeight - 1) * strideHeight + padInfo.top;
  const right = info.inWidth - 1 - (info.outWidth - 1) * strideWidth + padInfo.left;
  return { rows: [filterHeight - 1 - padInfo.top, bottom], columns: [filterWidth - 1 - padInfo.left, right] };
}

const asTensor = (info: TensorInfo): Tensor4D => engine().makeTensorFromTensorInfo(info) as Tensor4D;

/** The gradient [B,H,W,C] of the input of a convolution without a stride. */
function inputGradient(dy: Tensor4D, filter: Tensor4D, info: Conv2DInfo, backend: BackendWasm): Tensor4D {
  const { rows, columns } = inputBorders(info);
  const flipped = transpose(asTensor(flipTaps(filter, backend)), [0, 1, 3, 2]);
  const [fitted, padding] = fitBorders(dy, rows, columns);
  return conv2d(fitted, flipped, 1, padding);
}

/** The gradient [B,H,W,C] of a depthwise convolution's input; `filter` is [kh,kw,C,M]. */
function depthwiseInputGradient(dy: Tensor4D, filter: Tensor4D, info: Conv2DInfo, backend: BackendWasm): Tensor4D {
  const { rows, columns } = inputBorders(info);
  const [filterHeight, filterWidth, channels, multiplier] = filter.shape;
  const flipped = reshape(asTensor(flipTaps(filter, backend)), [filterHeight, filterWidth, channels * multiplier, 1]);
  const [fitted, padding] = fitBorders(spread(dy, info.strideHeight, info.strideWidth), rows, columns);
  // The declared type leaves explicit padding out, but the kernel takes it.
  const each = depthwiseConv2d(fitted, flipped as Tensor4D, 1, padding as unknown as 'valid');
  if (multiplier === 1) return each;
  const { batchSize, inHeight, inWidth } = info;
  const summed = sum(reshape(each, [batchSize * inHeight * inWidth * channels, multiplier]), 1);
  return reshape(summed, [batchSize, inHeight, inWidth, channels]);
}

/** Transposes explicitly before the product: the backend's own transposed product is scalar code, 10 times slower. */
function replaceMatMul(): void {
  const swap = (x: Tensor): Tensor => transpose(x, [...x.shape.keys()].with(-2, x.rank - 1).with(-1, x.rank - 2));
  wrapKernel('wasm', 'BatchMatMul', ({ inputs, attrs, backend }, original) => {
    const { a, b } = inputs as { a: Tensor; b: Tensor };
    const left = attrs?.['transposeA'] ? swap(a) : a;
    const right = attrs?.['transposeB'] ? swap(b) : b;
    const plain = { transposeA: false, transposeB: false };
    const product = original({ inputs: { a: left, b: right }, backend, attrs: plain });
    if (left !== a) left.dispose();
    if (right !== b) right.dispose();
    return product;
  });
}

/** Sums or means over the leading axes (gradients of biases, batch statistics) run as one loop instead of a transposition. */
function replaceReduction(kernelName: 'Sum' | 'Mean', divisor: (rows: number) => number): void {
  wrapKernel('wasm', kernelName, (call, original) => {
    const x = call.inputs['x']!;
    const { axis, keepDims } = call.attrs as unknown as { axis: number | number[]; keepDims: boolean };
    const axes = util.parseAxisParam(axis, x.shape);
    const leading = axes.length < x.shape.length && axes.every((value, index) => value === index);
    if (!leading || x.dtype !== 'float32') return original(call);
    const kept = x.shape.slice(axes.length);
    const channels = util.sizeFromShape(kept);
    const rows = util.sizeFromShape(x.shape.slice(0, axes.length));
    const backend = call.backend as BackendWasm;
    const sums = sumRows(x, channels, divisor(rows), backend);
    const shape = keepDims ? [...axes.map(() => 1), ...kept] : kept;
    return backend.makeOutput(shape, 'float32', undefined, sums);
  });
}
