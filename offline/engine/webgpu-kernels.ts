/**
 * Kernels of the tfjs WebGPU backend that fail or are slow: `AddN` binds more buffers than a device allows, `Select` takes four
 * axes at most, and the filter gradient of a convolution takes one thread a weight over all pixels.
 */
import {
  addN,
  concat,
  env,
  matMul,
  pad,
  reshape,
  stridedSlice,
  sum,
  tidy,
  util,
  where,
  type Tensor,
  type Tensor4D,
} from '@tensorflow/tfjs-core';
import { convolutionInfo, type Conv2DInfo, type ConvolutionAttributes, type Shape4D } from './convolution.ts';
import { wrapKernel } from './wrap-kernel.ts';

/** Registers the kernels in place of the backend's own; `device` is the one that it runs on. */
export function registerWebgpuKernels(device: GPUDevice): void {
  // The other form of a convolution's input gradient is a tiled matrix product, twice as fast.
  env().set('WEBGPU_USE_NAIVE_CONV2D_TRANSPOSE', false);
  // One buffer is for the sum.
  const most = device.limits.maxStorageBuffersPerShaderStage - 1;
  wrapKernel('webgpu', 'AddN', (call, original) => {
    // tfjs passes the list itself.
    const terms = call.inputs as unknown as Tensor[];
    return terms.length <= most ? original(call) : tidy(() => addN([addN(terms.slice(0, most)), ...terms.slice(most)]));
  });
  wrapKernel('webgpu', 'Select', (call, original) => {
    const { condition, t, e } = call.inputs as unknown as { condition: Tensor; t: Tensor; e: Tensor };
    if (t.rank <= 4) return original(call);
    const flat = (values: Tensor): Tensor => reshape(values, [values.size]);
    return tidy(() => reshape(where(flat(condition), flat(t), flat(e)), t.shape));
  });
  wrapKernel('webgpu', 'Conv2DBackpropFilter', (call, original) => {
    const { filterShape, ...attributes } = call.attrs as unknown as ConvolutionAttributes & { filterShape: Shape4D };
    const { x, dy } = call.inputs as unknown as { x: Tensor4D; dy: Tensor4D };
    const info = convolutionInfo(x.shape, filterShape, attributes, false);
    const patchesBytes =
      4 * info.batchSize * info.outHeight * info.outWidth * util.sizeFromShape(filterShape.slice(0, 3));
    if (patchesBytes > device.limits.maxStorageBufferBindingSize) return original(call);
    return tidy(() => reshape(filterGradient(x, dy, info), filterShape));
  });
}

/** Output tiles of a matrix product that keep a large device busy. */
const ENOUGH_TILES = 1024;
const TILE = 32;

/** [kh*kw*C,O]: the product of every image's patches (im2col) with the output gradient, in groups of images that are then summed. */
function filterGradient(x: Tensor4D, dy: Tensor4D, info: Conv2DInfo): Tensor {
  const columns = patches(x, info);
  const { batchSize, outHeight, outWidth, outChannels } = info;
  const rows = columns.shape[3];
  const tiles = Math.ceil(rows / TILE) * Math.ceil(outChannels / TILE);
  let groups = 1;
  while (groups * tiles < ENOUGH_TILES && batchSize % (groups * 2) === 0) groups *= 2;
  const places = (batchSize / groups) * outHeight * outWidth;
  const products = matMul(
    reshape(columns, [groups, places, rows]),
    reshape(dy, [groups, places, outChannels]),
    true,
    false,
  );
  return sum(products, 0);
}

/** What each tap of the filter meets, one after the other: [B,outH,outW,kh*kw*C]. */
function patches(x: Tensor4D, info: Conv2DInfo): Tensor4D {
  const { batchSize, inHeight, inWidth, inChannels, filterHeight, filterWidth, padInfo } = info;
  const rows = { count: (info.outHeight - 1) * info.strideHeight + 1, stride: info.strideHeight };
  const columns = { count: (info.outWidth - 1) * info.strideWidth + 1, stride: info.strideWidth };
  const after = (needed: number, before: number, size: number): number => Math.max(0, needed - before - size);
  const padded = pad(x, [
    [0, 0],
    [padInfo.top, after(rows.count + filterHeight - 1, padInfo.top, inHeight)],
    [padInfo.left, after(columns.count + filterWidth - 1, padInfo.left, inWidth)],
    [0, 0],
  ]);
  const taps = Array.from({ length: filterHeight * filterWidth }, (_, tap): Tensor4D => {
    const [row, column] = [Math.floor(tap / filterWidth), tap % filterWidth];
    const begin: Shape4D = [0, row, column, 0];
    const end: Shape4D = [batchSize, row + rows.count, column + columns.count, inChannels];
    return stridedSlice(padded, begin, end, [1, rows.stride, columns.stride, 1]) as Tensor4D;
  });
  return concat(taps, 3);
}
