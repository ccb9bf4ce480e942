/**
 * Kernels of the tfjs WASM backend that are slow there (ELU and the sum of rows with one row take three to five times as long, the gradients of ELU and
 * of max pooling more), in SIMD: offline/kernels/pointwise.ts and pools.ts.
 */
import { backend_util, util, type TensorInfo } from '@tensorflow/tfjs-core';
import type { BackendWasm } from '@tensorflow/tfjs-backend-wasm';
import type { ConvolutionAttributes, Shape4D } from './convolution.ts';
import { kernelsOf, makeFloats, pointerOf } from './kernels.ts';
import { wrapKernel } from './wrap-kernel.ts';

type PoolAttributes = Omit<ConvolutionAttributes, 'pad'> & {
  filterSize: [number, number] | number;
  pad: 'same' | 'valid' | number;
};

/** Puts the kernels before those that are registered; call it before the backend is opened. */
export function registerSimdKernels(): void {
  wrapKernel('wasm', 'Elu', ({ inputs, backend }) => elu(inputs['x']!, backend as BackendWasm));
  wrapKernel('wasm', 'EluGrad', ({ inputs, backend }) =>
    eluGradient(inputs['dy']!, inputs['y']!, backend as BackendWasm),
  );
  wrapKernel('wasm', 'Add', (call, original) => {
    const { a, b } = call.inputs as { a: TensorInfo; b: TensorInfo };
    const isRow = b.shape.length === 1 && a.shape.length > 1 && a.shape.at(-1) === b.shape[0];
    const areFloats = a.dtype === 'float32' && b.dtype === 'float32';
    return isRow && areFloats ? addRow(a, b, call.backend as BackendWasm) : original(call);
  });
  wrapKernel('wasm', 'MaxPoolGrad', ({ inputs, attrs, backend }) => {
    const { dy, input, output } = inputs as Record<'dy' | 'input' | 'output', TensorInfo>;
    return maxPoolGradient(dy, input, output, attrs as unknown as PoolAttributes, backend as BackendWasm);
  });
}

function elu(x: TensorInfo, backend: BackendWasm): TensorInfo {
  const result = makeFloats(backend, x.shape);
  const [from, to] = [x, result].map((tensor) => pointerOf(backend, tensor)) as [number, number];
  kernelsOf(backend).elu(from, to, util.sizeFromShape(x.shape));
  return result;
}

function eluGradient(dy: TensorInfo, y: TensorInfo, backend: BackendWasm): TensorInfo {
  const result = makeFloats(backend, y.shape);
  const at = (tensor: TensorInfo): number => pointerOf(backend, tensor);
  kernelsOf(backend).eluGradient(at(dy), at(y), at(result), util.sizeFromShape(y.shape));
  return result;
}

function addRow(a: TensorInfo, row: TensorInfo, backend: BackendWasm): TensorInfo {
  const result = makeFloats(backend, a.shape);
  const at = (tensor: TensorInfo): number => pointerOf(backend, tensor);
  const channels = row.shape[0]!;
  kernelsOf(backend).addRow(at(a), at(row), at(result), util.sizeFromShape(a.shape.slice(0, -1)), channels);
  return result;
}

/** The gradient [B,H,W,C] of max pooling's input: each output's gradient goes to the first maximum of its window. */
function maxPoolGradient(
  dy: TensorInfo,
  x: TensorInfo,
  y: TensorInfo,
  { filterSize, strides, pad, dimRoundingMode }: PoolAttributes,
  backend: BackendWasm,
): TensorInfo {
  const shape = x.shape as Shape4D;
  const info = backend_util.computePool2DInfo(shape, filterSize, strides, 1, pad, dimRoundingMode);
  const { outHeight, outWidth, padInfo, strideHeight, strideWidth } = info;
  const result = makeFloats(backend, shape);
  const [dyAt, xAt, yAt, resultAt] = [dy, x, y, result].map((tensor) => pointerOf(backend, tensor)) as Shape4D;
  const sizes = [...shape, outHeight, outWidth, padInfo.top, padInfo.left];
  const windows = [strideHeight, strideWidth, info.effectiveFilterHeight, info.effectiveFilterWidth];
  kernelsOf(backend).maxPoolGradient(dyAt, xAt, yAt, resultAt, ...sizes, ...windows);
  return result;
}
