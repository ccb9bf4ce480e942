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

/** The gradient [B,H,W,C] of max pooling's input: each output's gradient goes to the first maximum of its window. */
export function maxPoolGradient(
  dy: TensorInfo,
  x: TensorInfo,
  y: TensorInfo,
  info: Conv2DInfo,
  backend: BackendWasm,
): TensorInfo {
  const { inHeight, inWidth, inChannels, outHeight, outWidth, padInfo } = info;
  const gradient = backend.makeOutput(info.inShape, 'float32');
  const dx = backend.typedArrayFromHeap(gradient);
  const inputs = backend.typedArrayFromHeap(x);
  const maxima = backend.typedArrayFromHeap(y);
  const outputs = backend.typedArrayFromHeap(dy);
  dx.fill(0);
  const pixels = new Int32Array(info.effectiveFilterHeight * info.effectiveFilterWidth);
  let output = 0;
  for (let row = 0; row < info.batchSize * outHeight; row++) {
    const firstY = (row % outHeight) * info.strideHeight - padInfo.top;
    const image = Math.floor(row / outHeight) * inHeight;
    const bottom = Math.min(inHeight, firstY + info.effectiveFilterHeight);
    for (let column = 0; column < outWidth; column++) {
      const firstX = column * info.strideWidth - padInfo.left;
      const right = Math.min(inWidth, firstX + info.effectiveFilterWidth);
      let count = 0;
      for (let inY = Math.max(0, firstY); inY < bottom; inY++) {
        for (let inX = Math.max(0, firstX); inX < right; inX++) {
          pixels[count++] = ((image + inY) * inWidth + inX) * inChannels;
        }
      }
      for (let channel = 0; channel < inChannels; channel++, output++) {
        const maximum = maxima[output];
        for (let pixel = 0; pixel < count; pixel++) {
          const input = pixels[pixel]! + channel;
          if (inputs[input] !== maximum) continue;
          dx[input]! += outputs[output]!;
          break;
        }
      }
    }
  }
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
