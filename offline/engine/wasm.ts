/** The tfjs WASM backend in Node: SIMD, one thread per backend, with our gradient kernels. */
import '@tensorflow/tfjs';
import { enableProdMode, setBackend } from '@tensorflow/tfjs-core';
import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
import { fileURLToPath } from 'node:url';
import { registerGradients } from './gradients.ts';
import { registerGradientKernels } from './wasm-kernels.ts';

/** Makes the WASM backend the current one of this thread; opening it again changes nothing. */
export async function openWasm(): Promise<void> {
  // Keeps tfjs from recommending its native package on the first use of the cpu backend.
  enableProdMode();
  setWasmPaths(fileURLToPath(import.meta.resolve('@tensorflow/tfjs-backend-wasm/wasm-out/')));
  registerGradients();
  registerGradientKernels();
  if (!(await setBackend('wasm'))) throw new Error('the tfjs WASM backend did not start');
}
