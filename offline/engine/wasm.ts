/** The tfjs WASM backend in Node: SIMD, one thread per backend, with our gradients, gradient kernels and convolutions. */
import '@tensorflow/tfjs';
import { enableProdMode, env, findBackend, setBackend } from '@tensorflow/tfjs-core';
import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
import { fileURLToPath } from 'node:url';
import { failure, success, type Result } from '../../src/result.ts';
import { registerConvolutions } from './convolution-kernels.ts';
import { registerGradients } from './gradients.ts';
import { areKernelsSupported } from './kernels.ts';
import { registerSimdKernels } from './simd-kernels.ts';
import { registerGradientKernels } from './wasm-kernels.ts';

/** Makes the WASM backend the current one of this thread; opening it again changes nothing. */
export async function openWasm(): Promise<Result<void>> {
  // Keeps tfjs from recommending its native package on the first use of the cpu backend.
  enableProdMode();
  registerGradients();
  if (!(await env().getAsync('WASM_HAS_SIMD_SUPPORT')) || !areKernelsSupported()) {
    return failure(
      `wasm: Node ${process.version} runs no WASM SIMD of fixed and relaxed width on this processor; run through npx or npm, whose Node does`,
    );
  }
  if (!findBackend('wasm')) {
    registerGradientKernels();
    registerSimdKernels();
    registerConvolutions();
  }
  setWasmPaths(fileURLToPath(import.meta.resolve('@tensorflow/tfjs-backend-wasm/wasm-out/')));
  if (await setBackend('wasm')) return success(undefined);
  return failure('wasm: the tfjs backend did not start; run npm ci to restore its files');
}
