/**
 * What the tfjs WebGPU backend spends the host's time on, spared: on a fast device an operation costs more there than on the
 * device itself, most of it in making small objects of the same content as those before.
 */
import type { DataId, DataType, TypedArray } from '@tensorflow/tfjs-core';

/** The parts of tfjs's `WebGPUBackend` that are used here; its types need a browser's. */
export type WebgpuBackend = {
  device: GPUDevice;
  tensorMap: { get(dataId: DataId): TensorData };
  bufferManager: BufferManager;
  uploadToGPU(dataId: DataId): void;
  makeUniforms(fields: Uniform[]): unknown;
  /** Given back to the buffer manager after the next submission. */
  uniformPendingDisposal: unknown[];
};
type TensorData = { dtype: DataType; shape: number[]; values: TypedArray | number[] | null; resource: unknown };
type BufferManager = {
  /** By size and usage, the next one to be taken last. */
  freeBuffers: Map<string, GPUBuffer[]>;
  acquireBuffer(sizeBytes: number, usage: number): GPUBuffer;
  releaseBuffer(buffer: GPUBuffer, reuse?: boolean): void;
};
type Uniform = { type: string; data: number[] };

/** Changes an open backend, once; its results stay the same. */
export function spareHost(backend: WebgpuBackend): void {
  uploadByQueue(backend);
  keepUniforms(backend);
  takeOldestFirst(backend.bufferManager);
  keepBindGroups(backend.device);
}

/** Values of the host go through the queue; tfjs's own way makes, maps and destroys a buffer for each number of an expression. */
function uploadByQueue(backend: WebgpuBackend): void {
  const allocate = backend.uploadToGPU.bind(backend);
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  backend.uploadToGPU = (dataId) => {
    const data = backend.tensorMap.get(dataId);
    if (data.resource || !data.values || data.dtype === 'complex64') return allocate(dataId);
    const Values = data.dtype === 'float32' ? Float32Array : Int32Array;
    const values = data.values instanceof Values ? data.values : new Values(data.values);
    // A buffer that is free is in no command that waits for its submission, so the write cannot overtake one.
    const buffer = backend.bufferManager.acquireBuffer(values.byteLength, usage);
    backend.device.queue.writeBuffer(buffer, 0, values);
    data.resource = buffer;
    data.values = null;
  };
}

const MOST_UNIFORMS = 10_000;

/** The steps of a training pass the same shapes and sizes again and again: one buffer for each set of them, written once. */
function keepUniforms(backend: WebgpuBackend): void {
  const make = backend.makeUniforms.bind(backend);
  const kept = new Map<string, unknown>();
  backend.makeUniforms = (fields) => {
    const key = fields.map(({ type, data }) => `${type[0]}${data.join()}`).join(';');
    const known = kept.get(key);
    if (known) return known;
    const made = make(fields);
    if (kept.size < MOST_UNIFORMS) {
      kept.set(key, made);
      backend.uniformPendingDisposal.pop();
    }
    return made;
  };
}

/** The steps of a training then meet the same buffers again, where the order of their release would shuffle them. */
function takeOldestFirst(manager: BufferManager): void {
  const ageOf = numbering();
  const release = manager.releaseBuffer.bind(manager);
  manager.releaseBuffer = (buffer, reuse = true) => {
    release(buffer, reuse);
    if (!reuse) return;
    const free = manager.freeBuffers.get(`${buffer.size}_${buffer.usage}`)!;
    let at = free.length - 1;
    for (; at > 0 && ageOf(free[at - 1]!) < ageOf(buffer); at--) free[at] = free[at - 1]!;
    free[at] = buffer;
  };
}

const MOST_BIND_GROUPS = 20_000;

/** One object for each combination of buffers: it is what takes longest to make, and only the collection of garbage frees it. */
function keepBindGroups(device: GPUDevice): void {
  keepLayouts();
  const numberOf = numbering();
  const create = device.createBindGroup.bind(device);
  const kept = new Map<string, GPUBindGroup>();
  device.createBindGroup = (descriptor) => {
    const parts = [...descriptor.entries].map(({ resource }) => (resource as GPUBufferBinding).buffer);
    const key = [descriptor.layout, ...parts].map(numberOf).join();
    const known = kept.get(key);
    if (known) return known;
    if (kept.size === MOST_BIND_GROUPS) kept.clear();
    const made = create(descriptor);
    kept.set(key, made);
    return made;
  };
}

/** A pipeline makes a new object of its layout each time that it is asked. */
function keepLayouts(): void {
  const { prototype } = GPUComputePipeline;
  const layoutOf = prototype.getBindGroupLayout;
  const kept = new WeakMap<GPUComputePipeline, GPUBindGroupLayout>();
  // tfjs asks for the first alone.
  prototype.getBindGroupLayout = function (this: GPUComputePipeline, index) {
    const layout = kept.get(this) ?? layoutOf.call(this, index);
    kept.set(this, layout);
    return layout;
  };
}

/** Numbers objects in the order in which they are first seen. */
function numbering(): (item: object) => number {
  const numbers = new WeakMap<object, number>();
  let next = 0;
  return (item) => {
    const known = numbers.get(item);
    if (known !== undefined) return known;
    numbers.set(item, next);
    return next++;
  };
}
