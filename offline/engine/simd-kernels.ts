/**
 * Kernels of the tfjs WASM backend that take two to five times as long there (ELU and its gradient, the sum of rows with one row, the gradient of max
 * pooling), in SIMD: offline/kernels/pointwise.ts and pools.ts.
 */
import { backend_util, util, type TensorInfo } from '@tensorflow/tfjs-core';
import type { BackendWasm } from '@tensorflow/tfjs-backend-wasm';
import type { Shape4D } from './convolution.ts';
import type { PoolAttributes } from './gradients.ts';
import { kernelsOf, makeFloats, pointerOf, type Kernels } from './kernels.ts';
import { wrapKernel } from './wrap-kernel.ts';

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

type PointerOf = (tensor: TensorInfo) => number;

/** What `run` writes at the pointer that it is given last, as a tensor. */
function written(
  shape: number[],
  backend: BackendWasm,
  run: (kernels: Kernels, at: PointerOf, to: number) => void,
): TensorInfo {
  const result = makeFloats(backend, shape);
  const at: PointerOf = (tensor) => pointerOf(backend, tensor);
  run(kernelsOf(backend), at, at(result));
  return result;
}

const elu = (x: TensorInfo, backend: BackendWasm): TensorInfo =>
  written(x.shape, backend, (kernels, at, to) => kernels.elu(at(x), to, util.sizeFromShape(x.shape)));

const eluGradient = (dy: TensorInfo, y: TensorInfo, backend: BackendWasm): TensorInfo =>
  written(y.shape, backend, (kernels, at, to) => kernels.eluGradient(at(dy), at(y), to, util.sizeFromShape(y.shape)));

const addRow = (a: TensorInfo, row: TensorInfo, backend: BackendWasm): TensorInfo =>
  written(a.shape, backend, (kernels, at, to) =>
    kernels.addRow(at(a), at(row), to, util.sizeFromShape(a.shape.slice(0, -1)), row.shape[0]!),
  );

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
  const sizes = [...shape, outHeight, outWidth, padInfo.top, padInfo.left];
  const windows = [strideHeight, strideWidth, info.effectiveFilterHeight, info.effectiveFilterWidth];
  return written(shape, backend, (kernels, at, to) =>
    kernels.maxPoolGradient(at(dy), at(x), at(y), to, ...sizes, ...windows),
  );
}
