/**
 * Convolutions with 3 x 3 filters and stride 1, and their filters' gradients, on the project's own kernels (offline/kernels/winograd.ts) instead of
 * those of the tfjs WASM backend, which multiply every tap and know no fused multiply-add; others stay with the backend.
 */
import { getKernel, util, type TensorInfo } from '@tensorflow/tfjs-core';
import type { BackendWasm } from '@tensorflow/tfjs-backend-wasm';
import { convolutionInfo, type Conv2DInfo, type ConvolutionAttributes, type Shape4D } from './convolution.ts';
import { kernelsOf, makeFloats, pointerOf } from './kernels.ts';
import { wrapKernel } from './wrap-kernel.ts';

type Inputs = { x: TensorInfo; filter: TensorInfo; bias?: TensorInfo };
type Attributes = ConvolutionAttributes & {
  activation?: string;
  leakyreluAlpha?: number;
  filterShape: Shape4D;
};

const LEAST_TILES = 32;
/** The kernels take channels by fours and outputs by eights; others are filled up with zeros, unless that is most of them. */
const CHANNELS = { step: 4, least: 3 };
const OUTPUTS = { step: 8, least: 3 };
/** The backend's kernels for the activations of fused convolutions. */
const ACTIVATIONS = new Map([
  ['relu', 'Relu'],
  ['relu6', 'Relu6'],
  ['elu', 'Elu'],
  ['leakyrelu', 'LeakyRelu'],
]);

/** Puts the kernels before those that are registered; call it before the backend is opened. */
export function registerWinograd(): void {
  for (const name of ['Conv2D', 'FusedConv2D']) {
    wrapKernel('wasm', name, (call, original) => {
      const inputs = call.inputs as Inputs;
      const attributes = call.attrs as unknown as Attributes;
      const { activation = 'linear' } = attributes;
      const info = suitedInfo(inputs.x.shape, inputs.filter.shape, attributes);
      if (!info || (activation !== 'linear' && !ACTIVATIONS.has(activation))) return original(call);
      const backend = call.backend as BackendWasm;
      const sums = convolve(inputs, info, backend);
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
    const info = suitedInfo(x.shape, attributes.filterShape, attributes);
    return info ? filterGradient(x, dy, info, call.backend as BackendWasm) : original(call);
  });
}

/**
 * The sizes of a convolution that the kernels take: with few tiles transforming the filter, and with small ones the unused outputs, would cost
 * more than they save.
 */
function suitedInfo(images: number[], filter: number[], attributes: Attributes): Conv2DInfo | undefined {
  if (attributes.dataFormat === 'NCHW' || filter[0] !== 3 || filter[1] !== 3) return undefined;
  const info = convolutionInfo(images as Shape4D, filter as Shape4D, attributes, false);
  const { batchSize, inChannels, outHeight, outWidth, outChannels } = info;
  const { strideHeight, strideWidth, dilationHeight, dilationWidth } = info;
  const isPlain = strideHeight === 1 && strideWidth === 1 && dilationHeight === 1 && dilationWidth === 1;
  const isEnough = inChannels >= CHANNELS.least && outChannels >= OUTPUTS.least;
  const tiles = batchSize * Math.ceil(outHeight / 4) * Math.ceil(outWidth / 4);
  return isPlain && isEnough && Math.min(outHeight, outWidth) > 2 && tiles >= LEAST_TILES ? info : undefined;
}

/** Images [B,H,W,C] with filter [3,3,C,O] and perhaps bias [O] to [B,OH,OW,O]. */
function convolve({ x, filter, bias }: Inputs, info: Conv2DInfo, backend: BackendWasm): TensorInfo {
  const { inChannels, outChannels, outShape } = info;
  const { channels, outputs } = filledUp(info);
  const images = fitRows(x, inChannels, channels, backend);
  const wide = fitRows(filter, outChannels, outputs, backend);
  const taps = fitRows(wide, inChannels * outputs, channels * outputs, backend);
  const added = bias && fitRows(bias, outChannels, outputs, backend);
  const sums = makeFloats(backend, outShape.with(3, outputs));
  const scratch = prepare(info, images, sums, backend);
  kernelsOf(backend).convolve(pointerOf(backend, taps), added ? pointerOf(backend, added) : 0);
  const { dataId } = fitRows(sums, outputs, outChannels, backend);
  release(backend, [images, wide, taps, sums, scratch, ...(added ? [added] : [])]);
  return { dataId, shape: outShape, dtype: 'float32' };
}

/** The gradient [3,3,C,O] of the filter, from images [B,H,W,C] and the outputs' gradient `dy` [B,OH,OW,O]. */
function filterGradient(x: TensorInfo, dy: TensorInfo, info: Conv2DInfo, backend: BackendWasm): TensorInfo {
  const { inChannels, outChannels, filterShape } = info;
  const { channels, outputs } = filledUp(info);
  const images = fitRows(x, inChannels, channels, backend);
  const gradient = fitRows(dy, outChannels, outputs, backend);
  const taps = makeFloats(backend, [3, 3, channels, outputs]);
  const scratch = prepare(info, images, gradient, backend);
  kernelsOf(backend).filterGradient(pointerOf(backend, taps));
  const wide = fitRows(taps, channels * outputs, inChannels * outputs, backend);
  const { dataId } = fitRows(wide, outputs, outChannels, backend);
  release(backend, [images, gradient, taps, wide, scratch]);
  return { dataId, shape: filterShape, dtype: 'float32' };
}

function filledUp({ inChannels, outChannels }: Conv2DInfo): { channels: number; outputs: number } {
  const roundUp = (count: number, step: number): number => Math.ceil(count / step) * step;
  return { channels: roundUp(inChannels, CHANNELS.step), outputs: roundUp(outChannels, OUTPUTS.step) };
}

/** Tells the kernels what they convolve; returns the scratch that they work in. */
function prepare(info: Conv2DInfo, images: TensorInfo, results: TensorInfo, backend: BackendWasm): TensorInfo {
  const { batchSize, inHeight, inWidth, outHeight, outWidth, padInfo } = info;
  const { channels, outputs } = filledUp(info);
  const kernels = kernelsOf(backend);
  const scratch = makeFloats(backend, [kernels.scratchFloats(channels, outputs)]);
  const at = (tensor: TensorInfo): number => pointerOf(backend, tensor);
  const input = [at(images), batchSize, inHeight, inWidth, channels, padInfo.top, padInfo.left];
  kernels.prepare(...input, at(results), outHeight, outWidth, outputs, at(scratch));
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
