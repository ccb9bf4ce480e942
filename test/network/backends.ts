import { createRequire } from 'node:module';
import path from 'node:path';
import '@tensorflow/tfjs-core/dist/register_all_gradients.js';
import '@tensorflow/tfjs-backend-cpu';
import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
import { enableProdMode, ready, setBackend } from '@tensorflow/tfjs-core';

/** Makes one of tfjs's own backends the active one, with all gradients registered. */
export async function useBackend(name: 'cpu' | 'wasm'): Promise<void> {
  enableProdMode();
  const main = createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm');
  setWasmPaths(path.join(path.dirname(main), '../wasm-out/'));
  await setBackend(name);
  await ready();
}
