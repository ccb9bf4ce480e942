/** Gradient kernels of the tfjs WASM backend that are plain loops over its heap; V8 compiles them well. */
import type { backend_util, TensorInfo } from '@tensorflow/tfjs-core';
import type { BackendWasm } from '@tensorflow/tfjs-backend-wasm';

type Conv2DInfo = backend_util.Conv2DInfo;

/** The gradient [kh,kw,C,M] of a depthwise convolution's filter, summed in float64. */
export function depthwiseFilterGradient(
  x: TensorInfo,
  dy: TensorInfo,
  info: Conv2DInfo,
  backend: BackendWasm,
): TensorInfo {
  const { inHeight, inWidth, inChannels, outHeight, outWidth, filterHeight, filterWidth, padInfo } = info;
  const multiplier = info.outChannels / inChannels;
  const gradient = backend.makeOutput(info.filterShape, 'float32');
  // Views come after makeOutput: a heap that grows detaches the older ones.
  const images = backend.typedArrayFromHeap(x);
  const outputs = backend.typedArrayFromHeap(dy);
  const sums = new Float64Array(filterHeight * filterWidth * info.outChannels);
  for (let row = 0; row < info.batchSize * outHeight; row++) {
    const firstY = (row % outHeight) * info.strideHeight - padInfo.top;
    const image = Math.floor(row / outHeight) * inHeight;
    for (let column = 0; column < outWidth; column++) {
      const firstX = column * info.strideWidth - padInfo.left;
      const output = (row * outWidth + column) * info.outChannels;
      for (let tap = 0; tap < filterHeight * filterWidth; tap++) {
        const inY = firstY + Math.floor(tap / filterWidth);
        const inX = firstX + (tap % filterWidth);
        if (inY < 0 || inY >= inHeight || inX < 0 || inX >= inWidth) continue;
        const input = ((image + inY) * inWidth + inX) * inChannels;
        const sum = tap * info.outChannels;
        for (let channel = 0; channel < info.outChannels; channel++) {
          const source = multiplier === 1 ? channel : Math.floor(channel / multiplier);
          sums[sum + channel]! += images[input + source]! * outputs[output + channel]!;
        }
      }
    }
  }
  backend.typedArrayFromHeap(gradient).set(sums);
  return gradient;
}

/** Sums x [N,C] over its rows, in float64, and divides by `divisor`: the leading axes of a reduction, which the backend would transpose. */
export function sumRows(x: TensorInfo, channels: number, divisor: number, backend: BackendWasm): Float32Array {
  const values = backend.typedArrayFromHeap(x);
  const sums = new Float64Array(channels);
  for (let start = 0; start < values.length; start += channels) {
    for (let channel = 0; channel < channels; channel++) sums[channel]! += values[start + channel]!;
  }
  return Float32Array.from(sums, (sum) => sum / divisor);
}

/** Adds the rows of x [N,...] to the rows of a result [S,...] that `segmentIds` [N] names: the gradient of a gather. */
export function sumSegments(x: TensorInfo, segmentIds: TensorInfo, segments: number, backend: BackendWasm): TensorInfo {
  const shape = [segments, ...x.shape.slice(segmentIds.shape.length)];
  const result = backend.makeOutput(shape, 'float32');
  const sums = backend.typedArrayFromHeap(result);
  const values = backend.typedArrayFromHeap(x);
  const ids = backend.typedArrayFromHeap(segmentIds);
  const size = sums.length / segments;
  sums.fill(0);
  for (let row = 0; row < ids.length; row++) {
    const segment = ids[row]!;
    if (segment < 0 || segment >= segments) continue;
    for (let index = 0; index < size; index++) sums[segment * size + index]! += values[row * size + index]!;
  }
  return result;
}

/** A filter [kh,kw,C,O] turned by 180 degrees. */
export function flipTaps(filter: TensorInfo, backend: BackendWasm): TensorInfo {
  const flipped = backend.makeOutput(filter.shape, 'float32');
  const target = backend.typedArrayFromHeap(flipped);
  const source = backend.typedArrayFromHeap(filter);
  const size = filter.shape[2]! * filter.shape[3]!;
  for (let start = 0; start < source.length; start += size) {
    target.set(source.subarray(start, start + size), source.length - start - size);
  }
  return flipped;
}

/** Repeats `x` by `repeats` along every axis. */
export function repeatAxes(x: TensorInfo, repeats: readonly number[], backend: BackendWasm): TensorInfo {
  const shape = x.shape.map((size, axis) => size * repeats[axis]!);
  const result = backend.makeOutput(shape, x.dtype);
  let values = backend.typedArrayFromHeap(x);
  let block = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    block *= x.shape[axis]!;
    const times = repeats[axis]!;
    if (times !== 1) values = repeatBlocks(values, block, times);
    block *= times;
  }
  backend.typedArrayFromHeap(result).set(values);
  return result;
}

function repeatBlocks<T extends Float32Array | Int32Array | Uint8Array>(values: T, block: number, times: number): T {
  const repeated = new (values.constructor as new (length: number) => T)(values.length * times);
  for (let start = 0; start < values.length; start += block) {
    const from = start * times;
    if (block === 1) repeated.fill(values[start]!, from, from + times);
    else
      for (let time = 0; time < times; time++) repeated.set(values.subarray(start, start + block), from + time * block);
  }
  return repeated;
}
