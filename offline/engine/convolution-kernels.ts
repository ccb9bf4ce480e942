/**
 * Convolutions and their gradients on the project's own kernels instead of those of the tfjs WASM backend, which know no fused multiply-add: 3 x 3 filters
 * with stride 1 by Winograd's filtering (offline/kernels/winograd.ts), the others window by window (offline/kernels/windows.ts). What is dilated, or has hardly
 * any channels, stays with the backend.
 */
import { getKernel, util, type TensorInfo } from '@tensorflow/tfjs-core';
import type { BackendWasm } from '@tensorflow/tfjs-backend-wasm';
import { convolutionInfo, type Conv2DInfo, type ConvolutionAttributes, type Shape4D } from './convolution.ts';
import { kernelsOf, makeFloats, pointerOf, type Kernels } from './kernels.ts';
import { wrapKernel } from './wrap-kernel.ts';

type Inputs = { x: TensorInfo; filter: TensorInfo; bias?: TensorInfo };
type Attributes = ConvolutionAttributes & {
  activation?: string;
  leakyreluAlpha?: number;
  inputShape: Shape4D;
  filterShape: Shape4D;
};

/** One of the two ways: its kernels, and to a multiple of how many channels images must be filled up with zeros. */
type Method = {
  channelStep: number;
  kernels: (all: Kernels) => Pick<Kernels, 'scratchFloats' | 'prepare' | 'convolve' | 'filterGradient'>;
};

const WINOGRAD: Method = { channelStep: 4, kernels: (all) => all };
const WINDOWS: Method = {
  channelStep: 1,
  kernels: (all) => ({
    scratchFloats: all.windowScratchFloats,
    prepare: all.prepareWindows,
    convolve: all.convolveWindows,
    filterGradient: all.windowFilterGradient,
  }),
};

const LEAST_TILES = 32;
/** Few channels or outputs are left to the backend: filling them up with zeros would be most of the work. */
const LEAST_CHANNELS = 3;
/** Outputs are filled up with zeros to a multiple of it. */
const OUTPUT_STEP = 8;
/** The backend's kernels for the activations of fused convolutions. */
const ACTIVATIONS = new Map([
  ['relu', 'Relu'],
  ['relu6', 'Relu6'],
  ['elu', 'Elu'],
  ['leakyrelu', 'LeakyRelu'],
]);

/** Puts the kernels before those that are registered; call it before the backend is opened. */
export function registerConvolutions(): void {
  for (const name of ['Conv2D', 'FusedConv2D']) {
    wrapKernel('wasm', name, (call, original) => {
      const inputs = call.inputs as Inputs;
      const attributes = call.attrs as unknown as Attributes;
      const { activation = 'linear' } = attributes;
      const suited = methodFor(inputs.x.shape, inputs.filter.shape, attributes);
      if (!suited || (activation !== 'linear' && !ACTIVATIONS.has(activation))) return original(call);
      const backend = call.backend as BackendWasm;
      const sums = convolve(inputs, suited, backend);
      if (activation === 'linear') return sums;
      const attrs = { alpha: attributes.leakyreluAlpha ?? 0 };
      const { kernelFunc: activate } = getKernel(ACTIVATIONS.get(activation)!, 'wasm');
      const activated = activate({ inputs: { x: sums }, attrs, backend });
      backend.disposeData(sums.dataId);
      return activated;
    });
  }
  wrapKernel('wasm', 'Conv2DBackpropFilter', (call, original) => {
    const { x, dy } = call.inputs as { x: TensorInfo; dy: TensorInfo };
    const attributes = call.attrs as unknown as Attributes;
    const suited = methodFor(x.shape, attributes.filterShape, attributes);
    return suited ? filterGradient(x, dy, suited, call.backend as BackendWasm) : original(call);
  });
  wrapKernel('wasm', 'Conv2DBackpropInput', (call, original) => {
    const { dy, filter } = call.inputs as { dy: TensorInfo; filter: TensorInfo };
    const attributes = call.attrs as unknown as Attributes;
    const info = convolutionInfo(attributes.inputShape, filter.shape as Shape4D, attributes, false);
    // Without a stride it is a convolution itself, which the other kernels take.
    const isStrided = info.strideHeight > 1 || info.strideWidth > 1;
    return isStrided ? inputGradient(dy, filter, info, call.backend as BackendWasm) : original(call);
  });
}

type Suited = { info: Conv2DInfo; method: Method };

/**
 * How the kernels take a convolution, if they do. Of 3 x 3 filters with stride 1 they take what has many tiles: with few transforming the filter, and with
 * small ones the unused outputs, would cost more than they save.
 */
function methodFor(images: number[], filter: number[], attributes: Attributes): Suited | undefined {
  if (attributes.dataFormat === 'NCHW') return undefined;
  const info = convolutionInfo(images as Shape4D, filter as Shape4D, attributes, false);
  const { batchSize, inChannels, outHeight, outWidth, outChannels, filterHeight, filterWidth } = info;
  const { strideHeight, strideWidth, dilationHeight, dilationWidth } = info;
  const isDilated = dilationHeight > 1 || dilationWidth > 1;
  if (isDilated || Math.min(inChannels, outChannels) < LEAST_CHANNELS) return undefined;
  const is3By3 = filterHeight === 3 && filterWidth === 3 && strideHeight === 1 && strideWidth === 1;
  if (!is3By3) return { info, method: WINDOWS };
  const tiles = batchSize * Math.ceil(outHeight / 4) * Math.ceil(outWidth / 4);
  return Math.min(outHeight, outWidth) > 2 && tiles >= LEAST_TILES ? { info, method: WINOGRAD } : undefined;
}

/** Images [B,H,W,C] with filter [kh,kw,C,O] and perhaps bias [O] to [B,OH,OW,O]. */
function convolve({ x, filter, bias }: Inputs, { info, method }: Suited, backend: BackendWasm): TensorInfo {
  const { inChannels, outChannels, outShape } = info;
  const { channels, outputs } = filledUp(info, method);
  const images = fitRows(x, inChannels, channels, backend);
  const wide = fitRows(filter, outChannels, outputs, backend);
  const taps = fitRows(wide, inChannels * outputs, channels * outputs, backend);
  const added = bias && fitRows(bias, outChannels, outputs, backend);
  const sums = makeFloats(backend, outShape.with(3, outputs));
  const scratch = prepare({ info, method }, images, sums, backend);
  method.kernels(kernelsOf(backend)).convolve(pointerOf(backend, taps), added ? pointerOf(backend, added) : 0);
  const { dataId } = fitRows(sums, outputs, outChannels, backend);
  release(backend, [images, wide, taps, sums, scratch, ...(added ? [added] : [])]);
  return { dataId, shape: outShape, dtype: 'float32' };
}

/** The gradient [kh,kw,C,O] of the filter, from images [B,H,W,C] and the outputs' gradient `dy` [B,OH,OW,O]. */
function filterGradient(x: TensorInfo, dy: TensorInfo, { info, method }: Suited, backend: BackendWasm): TensorInfo {
  const { inChannels, outChannels, filterShape, filterHeight, filterWidth } = info;
  const { channels, outputs } = filledUp(info, method);
  const images = fitRows(x, inChannels, channels, backend);
  const gradient = fitRows(dy, outChannels, outputs, backend);
  const taps = makeFloats(backend, [filterHeight, filterWidth, channels, outputs]);
  const scratch = prepare({ info, method }, images, gradient, backend);
  method.kernels(kernelsOf(backend)).filterGradient(pointerOf(backend, taps));
  const wide = fitRows(taps, channels * outputs, inChannels * outputs, backend);
  const { dataId } = fitRows(wide, outputs, outChannels, backend);
  release(backend, [images, gradient, taps, wide, scratch]);
  return { dataId, shape: filterShape, dtype: 'float32' };
}

/** The gradient [B,H,W,C] of the images of a convolution with a stride, from the outputs' gradient `dy` [B,OH,OW,O] and filter [kh,kw,C,O]. */
function inputGradient(dy: TensorInfo, filter: TensorInfo, info: Conv2DInfo, backend: BackendWasm): TensorInfo {
  const { outChannels, inShape } = info;
  const { outputs } = filledUp(info, WINDOWS);
  const gradient = fitRows(dy, outChannels, outputs, backend);
  const taps = fitRows(filter, outChannels, outputs, backend);
  const images = makeFloats(backend, inShape);
  const scratch = prepare({ info, method: WINDOWS }, images, gradient, backend);
  kernelsOf(backend).windowInputGradient(pointerOf(backend, taps));
  release(backend, [gradient, taps, scratch]);
  return images;
}

function filledUp(
  { inChannels, outChannels }: Conv2DInfo,
  { channelStep }: Method,
): Record<'channels' | 'outputs', number> {
  const roundUp = (count: number, step: number): number => Math.ceil(count / step) * step;
  return { channels: roundUp(inChannels, channelStep), outputs: roundUp(outChannels, OUTPUT_STEP) };
}

/** Tells the kernels what they convolve; returns the scratch that they work in. */
function prepare({ info, method }: Suited, images: TensorInfo, results: TensorInfo, backend: BackendWasm): TensorInfo {
  const { batchSize, inHeight, inWidth, outHeight, outWidth, padInfo } = info;
  const { filterHeight, filterWidth, strideHeight, strideWidth } = info;
  const { channels, outputs } = filledUp(info, method);
  const all = kernelsOf(backend);
  const at = (tensor: TensorInfo): number => pointerOf(backend, tensor);
  const input = [at(images), batchSize, inHeight, inWidth, channels, padInfo.top, padInfo.left];
  const output = [at(results), outHeight, outWidth, outputs];
  all.describe(...input, ...output, filterHeight, filterWidth, strideHeight, strideWidth);
  const own = method.kernels(all);
  const scratch = makeFloats(backend, [own.scratchFloats()]);
  own.prepare(at(scratch));
  return scratch;
}

/** A tensor with rows of `to` instead of `from` numbers, filled up with zeros or cut off; the same one, held once more, if they are as long. */
function fitRows(tensor: TensorInfo, from: number, to: number, backend: BackendWasm): TensorInfo {
  if (from === to) {
    backend.incRef(tensor.dataId);
    return tensor;
  }
  const rows = util.sizeFromShape(tensor.shape) / from;
  const fitted = makeFloats(backend, [rows, to]);
  kernelsOf(backend).copyRows(pointerOf(backend, tensor), from, pointerOf(backend, fitted), to, rows);
  return fitted;
}

function release(backend: BackendWasm, tensors: readonly TensorInfo[]): void {
  for (const { dataId } of tensors) backend.disposeData(dataId);
}
