/**
 * The project's own WASM kernels (offline/kernels, in AssemblyScript), which work on the memory of the tfjs WASM backend itself, so that no tensor is
 * copied for them.
 */
import { readFileSync } from 'node:fs';
import type { TensorInfo } from '@tensorflow/tfjs-core';
import type { BackendWasm } from '@tensorflow/tfjs-backend-wasm';

/** What kernels.wasm exports; pointers are bytes into the backend's memory. */
export type Kernels = {
  open(): void;
  describe(...geometry: number[]): void;
  scratchFloats(): number;
  prepare(scratch: number): void;
  convolve(filter: number, bias: number): void;
  filterGradient(gradient: number): void;
  windowScratchFloats(): number;
  prepareWindows(scratch: number): void;
  convolveWindows(filter: number, bias: number): void;
  windowInputGradient(filter: number): void;
  windowFilterGradient(gradient: number): void;
  maxPoolGradient(dy: number, x: number, y: number, dx: number, ...geometry: number[]): void;
  elu(from: number, to: number, count: number): void;
  eluGradient(dy: number, y: number, to: number, count: number): void;
  addRow(from: number, row: number, to: number, rows: number, channels: number): void;
  copyRows(from: number, numbers: number, to: number, wide: number, rows: number): void;
};

/** Neither the language's own types nor Node's declare it. */
type WebAssembly = {
  validate(code: Uint8Array): boolean;
  Module: new (code: Uint8Array) => object;
  Instance: new (module: object, imports: object) => { exports: unknown };
};

const { WebAssembly: wasm } = globalThis as unknown as { WebAssembly: WebAssembly };
const CODE = readFileSync(new URL('./kernels.wasm', import.meta.url));
const opened = new WeakMap<BackendWasm, Kernels>();

/** Whether this Node runs the kernels: they need relaxed SIMD. */
export const areKernelsSupported = (): boolean => wasm.validate(CODE);

/** The kernels on the memory of a backend. */
export function kernelsOf(backend: BackendWasm): Kernels {
  const known = opened.get(backend);
  if (known) return known;
  // Emscripten keeps what the backend's own module exports; its types leave it out.
  const { memory } = (backend.wasm as unknown as { asm: { memory: object } }).asm;
  const kernels = new wasm.Instance(new wasm.Module(CODE), { env: { memory } }).exports as Kernels;
  kernels.open();
  opened.set(backend, kernels);
  return kernels;
}

/** Where a tensor's numbers lie in the backend's memory. */
export const pointerOf = (backend: BackendWasm, tensor: TensorInfo): number =>
  backend.typedArrayFromHeap(tensor).byteOffset;

/** A tensor of float32 whose numbers are yet to be written. */
export const makeFloats = (backend: BackendWasm, shape: number[]): TensorInfo => backend.makeOutput(shape, 'float32');
