/**
 * The tfjs WASM SIMD backend inside a Worker, from an imported module.
 *
 * Workers may not compile WASM at run time, so emscripten's own loader cannot be used. The glue below gives the module the seven
 * functions that it imports and gives tfjs the part of the emscripten interface that it calls; after emscripten's runtime.
 */
import { registerBackend, registerKernel, setBackend } from '@tensorflow/tfjs-core';
import { BackendWasm } from '@tensorflow/tfjs-backend-wasm/dist/backend_wasm';
import binary from '@tensorflow/tfjs-backend-wasm/wasm-out/tfjs-backend-wasm-simd.wasm';
import { kernels } from './kernels.ts';

/** The largest heap that 32-bit signed sizes can name: 2^31 itself reads as negative, and growth is then refused. */
const HEAP_MAX_BYTES = 2_147_418_112;
const PAGE_BYTES = 65_536;
const EBADF = 8;

type Exports = Record<string, (...args: number[]) => number> & { memory: WebAssembly.Memory };

function instantiate(module: WebAssembly.Module) {
  let heap = new Uint8Array();
  const abort = (): never => {
    throw new Error('wasm: the module aborted');
  };
  const resize = (requested: number): number => {
    const wanted = requested >>> 0;
    if (wanted > HEAP_MAX_BYTES) return 0;
    const grown = Math.min(Math.max(wanted, heap.length * 1.2), HEAP_MAX_BYTES);
    try {
      exports.memory.grow(Math.ceil((grown - heap.length) / PAGE_BYTES));
    } catch {
      return 0;
    }
    heap = new Uint8Array(exports.memory.buffer);
    return 1;
  };
  /** The module writes only when an operator failed; tfjs would go on with whatever is in the output, so this must throw. */
  const complain = (_file: number, vectors: number, count: number): never => {
    const words = new Uint32Array(exports.memory.buffer, vectors >>> 0, 2 * count);
    const text = Array.from({ length: count }, (_, index) =>
      new TextDecoder().decode(heap.subarray(words[2 * index]!, words[2 * index]! + words[2 * index + 1]!)),
    );
    throw new Error(`wasm: ${text.join('').trim().slice(0, 200)}`);
  };
  const imports = {
    env: {
      abort,
      emscripten_memcpy_big: (to: number, from: number, length: number) =>
        heap.copyWithin(to >>> 0, from >>> 0, (from + length) >>> 0),
      emscripten_get_heap_max: () => HEAP_MAX_BYTES,
      emscripten_resize_heap: resize,
    },
    wasi_snapshot_preview1: { fd_close: () => EBADF, fd_seek: () => EBADF, fd_write: complain },
  };
  const exports = new WebAssembly.Instance(module, imports).exports as Exports;
  heap = new Uint8Array(exports.memory.buffer);
  exports['__wasm_call_ctors']!();

  const call = (name: string) => exports[name]!;
  /** Arrays travel on the WASM stack, which is put back after the call. */
  const callWithArrays =
    (name: string) =>
    (...args: (number | boolean | Uint8Array)[]) => {
      const top = call('stackSave')();
      const plain = args.map((arg) => {
        if (!(arg instanceof Uint8Array)) return Number(arg);
        const address = call('stackAlloc')(arg.length);
        heap.set(arg, address >>> 0);
        return address;
      });
      const result = call(name)(...plain);
      call('stackRestore')(top);
      return result;
    };
  /** tfjs does not look whether it got memory: it would write over address 0, and sizes wrap at 2^32. */
  const allocate = (lengthBytes: number): number => {
    const address = lengthBytes > HEAP_MAX_BYTES ? 0 : call('malloc')(lengthBytes);
    if (address === 0) throw new Error(`wasm: no memory for ${lengthBytes} bytes`);
    return address;
  };
  return {
    get HEAPU8() {
      return heap;
    },
    _malloc: allocate,
    _free: call('free'),
    cwrap: (name: string, _result: string | null, types: string[]) =>
      types.includes('array') ? callWithArrays(name) : call(name),
    tfjs: {
      init: call('init'),
      initWithThreadsCount: call('init_with_threads_count'),
      getThreadsCount: call('get_threads_count'),
      registerTensor: call('register_tensor'),
      disposeData: call('dispose_data'),
      dispose: call('dispose'),
    },
  };
}

let ready: Promise<boolean> | undefined;

/** Makes tfjs run on the WASM backend of this isolate; the first call instantiates it, later calls cost nothing. */
export async function startBackend(): Promise<void> {
  if (!ready) {
    for (const kernel of kernels) registerKernel(kernel);
    registerBackend('wasm', () => new BackendWasm(instantiate(binary) as unknown as BackendWasm['wasm']));
    ready = setBackend('wasm');
  }
  if (!(await ready)) throw new Error('wasm: tfjs refused the backend');
}
