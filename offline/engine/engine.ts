/** Where the tensor work runs: tfjs on WebGPU when there is a GPU, else on WASM. */
import '@tensorflow/tfjs';
import { enableProdMode } from '@tensorflow/tfjs-core';
import { availableParallelism, cpus } from 'node:os';
import { success, type Result } from '../../src/result.ts';
import { registerGradients } from './gradients.ts';
import { openWasm } from './wasm.ts';
import { closeWebgpu, findAdapter, openWebgpu } from './webgpu.ts';

export type EngineChoice = 'auto' | 'wasm' | 'webgpu';
/** `device` is for people to read; `threads` is how many jobs may run at once (pool.ts). */
export type Engine = { kind: 'wasm' | 'webgpu'; device: string; threads: number };

/**
 * Makes the chosen backend tfjs's current one, with all gradients; `auto` takes WebGPU when an adapter that is no software
 * renderer exists. Fails with the remedy when the choice cannot be had.
 */
export async function openEngine(choice: EngineChoice): Promise<Result<Engine>> {
  // Also keeps tfjs from recommending its native package on the first use of the cpu backend.
  enableProdMode();
  registerGradients();
  const adapter = choice === 'wasm' ? undefined : await findAdapter();
  if (adapter && (choice === 'webgpu' || (adapter.found === 'adapter' && !adapter.software))) {
    const opened = await openWebgpu(adapter);
    return opened.ok ? success({ kind: 'webgpu', device: opened.value, threads: 1 }) : opened;
  }
  const opened = await openWasm();
  if (!opened.ok) return opened;
  return success({
    kind: 'wasm',
    device: `${cpus()[0]?.model ?? 'unknown processor'}, WASM SIMD`,
    threads: threadCount(),
  });
}

/** Lets the process end once its work is done; the engine may be opened again. */
export function closeEngine(engine: Engine): void {
  if (engine.kind === 'webgpu') closeWebgpu();
}

// Every thread holds its own copy of the data and of the heap, so many more would cost memory first.
const threadCount = (): number => Math.min(8, availableParallelism());
