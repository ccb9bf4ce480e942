/**
 * Convolutions with 3 x 3 filters and stride 1, and their filters' gradients, on the project's own kernels (offline/kernels/winograd.ts) instead of
 * those of the tfjs WASM backend, which multiply every tap and know no fused multiply-add; others stay with the backend.
 */
import { readFileSync } from 'node:fs';
import { getKernel, type TensorInfo } from '@tensorflow/tfjs-core';
import type { BackendWasm } from '@tensorflow/tfjs-backend-wasm';
import { convolutionInfo, type Conv2DInfo, type ConvolutionAttributes, type Shape4D } from './convolution.ts';
import { wrapKernel } from './wrap-kernel.ts';

type Inputs = { x: TensorInfo; filter: TensorInfo; bias?: TensorInfo };
type Attributes = ConvolutionAttributes & {
  activation?: string;
  leakyreluAlpha?: number;
  filterShape: Shape4D;
};

type Memory = { buffer: ArrayBuffer; grow(pages: number): number };

/** What winograd.wasm exports; pointers are bytes into its memory. */
type Kernel = {
  memory: Memory;
  positionStride(tiles: number, channels: number): number;
  transformFilter(filter: number, channels: number, outputs: number, to: number): void;
  prepare(...geometry: number[]): void;
  convolve(filter: number, bias: number): void;
  filterGradient(sums: number, gradient: number): void;
};

/** Neither the language's own types nor Node's declare it. */
type WebAssembly = {
  validate(code: Uint8Array): boolean;
  Module: new (code: Uint8Array) => object;
  Instance: new (module: object) => { exports: unknown };
};

const { WebAssembly: wasm } = globalThis as unknown as { WebAssembly: WebAssembly };
const CODE = readFileSync(new URL('./winograd.wasm', import.meta.url));
const POSITIONS = 36;
/** Tiles at a time: their transforms stay in the second-level cache up to some 128 channels. */
const BLOCK_TILES = 32;
const LEAST_TILES = 32;
/** The kernel keeps its own numbers in the first page of its memory. */
const PAGE_BYTES = 65_536;
const LINE_BYTES = 64;
const FLOAT_BYTES = 4;
/** The backend's kernels for the activations of fused convolutions. */
const ACTIVATIONS = new Map([
  ['relu', 'Relu'],
  ['relu6', 'Relu6'],
  ['elu', 'Elu'],
  ['leakyrelu', 'LeakyRelu'],
]);

let opened: Kernel | undefined;

/** Whether this Node runs the kernel: it needs relaxed SIMD. */
export const isKernelSupported = (): boolean => wasm.validate(CODE);

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
  const isWhole = inChannels % 4 === 0 && outChannels % 8 === 0;
  const tiles = batchSize * Math.ceil(outHeight / 4) * Math.ceil(outWidth / 4);
  return isPlain && isWhole && Math.min(outHeight, outWidth) > 2 && tiles >= LEAST_TILES ? info : undefined;
}

/** Images [B,H,W,C] with filter [3,3,C,O] and perhaps bias [O] to [B,OH,OW,O]. */
function convolve({ x, filter, bias }: Inputs, info: Conv2DInfo, backend: BackendWasm): TensorInfo {
  const { inChannels, outChannels, outShape } = info;
  const { kernel, place, images, outputs } = prepare(info);
  const taps = place(9 * inChannels * outChannels);
  const added = place(outChannels);
  const transformed = place(POSITIONS * inChannels * outChannels);
  write(kernel, backend, x, images);
  write(kernel, backend, filter, taps);
  if (bias) write(kernel, backend, bias, added);
  kernel.transformFilter(taps, inChannels, outChannels, transformed);
  kernel.convolve(transformed, bias ? added : 0);
  return read(kernel, backend, outputs, outShape);
}

/** The gradient [3,3,C,O] of the filter, from images [B,H,W,C] and the outputs' gradient `dy` [B,OH,OW,O]. */
function filterGradient(x: TensorInfo, dy: TensorInfo, info: Conv2DInfo, backend: BackendWasm): TensorInfo {
  const { inChannels, outChannels, filterShape } = info;
  const { kernel, place, images, outputs } = prepare(info);
  const sums = place(POSITIONS * inChannels * outChannels);
  const gradient = place(9 * inChannels * outChannels);
  write(kernel, backend, x, images);
  write(kernel, backend, dy, outputs);
  kernel.filterGradient(sums, gradient);
  return read(kernel, backend, gradient, filterShape);
}

/** The kernel, told what it convolves, with places for images and outputs. */
function prepare(info: Conv2DInfo): {
  kernel: Kernel;
  place: (floatCount: number) => number;
  images: number;
  outputs: number;
} {
  const { batchSize, inHeight, inWidth, inChannels, outHeight, outWidth, outChannels, padInfo } = info;
  const kernel = openKernel();
  const place = allocator(kernel.memory);
  const images = place(batchSize * inHeight * inWidth * inChannels);
  const outputs = place(batchSize * outHeight * outWidth * outChannels);
  const pixels = place(POSITIONS * kernel.positionStride(BLOCK_TILES, inChannels));
  const products = place(POSITIONS * kernel.positionStride(BLOCK_TILES, outChannels));
  const patch = place(POSITIONS * Math.max(inChannels, outChannels));
  const input = [images, batchSize, inHeight, inWidth, inChannels, padInfo.top, padInfo.left];
  const output = [outputs, outHeight, outWidth, outChannels];
  kernel.prepare(...input, ...output, pixels, products, patch, BLOCK_TILES);
  return { kernel, place, images, outputs };
}

/** Copies a tensor of the backend into the kernel's memory. */
function write({ memory }: Kernel, backend: BackendWasm, tensor: TensorInfo, pointer: number): void {
  const values = backend.typedArrayFromHeap(tensor);
  new Float32Array(memory.buffer, pointer, values.length).set(values);
}

/** A tensor of the backend with what lies in the kernel's memory. */
function read({ memory }: Kernel, backend: BackendWasm, pointer: number, shape: number[]): TensorInfo {
  const output = backend.makeOutput(shape, 'float32');
  const values = backend.typedArrayFromHeap(output);
  values.set(new Float32Array(memory.buffer, pointer, values.length));
  return output;
}

function openKernel(): Kernel {
  opened ??= new wasm.Instance(new wasm.Module(CODE)).exports as Kernel;
  return opened;
}

/** Gives pointers to so many floats, one after another; the memory grows as needed. */
function allocator(memory: Memory): (floatCount: number) => number {
  let end = PAGE_BYTES;
  return (floatCount) => {
    const pointer = end;
    end += Math.ceil((floatCount * FLOAT_BYTES) / LINE_BYTES) * LINE_BYTES;
    const missing = end - memory.buffer.byteLength;
    if (missing > 0) memory.grow(Math.ceil(missing / PAGE_BYTES));
    return pointer;
  };
}
