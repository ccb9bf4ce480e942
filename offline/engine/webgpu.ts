/** The tfjs WebGPU backend in Node, over Dawn (npm package `webgpu`, an optional dependency). */
import { engine, findBackend, setBackend } from '@tensorflow/tfjs-core';
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { failure, success, type Result } from '../../src/result.ts';
import { spareHost, type WebgpuBackend } from './webgpu-backend.ts';
import { registerWebgpuKernels } from './webgpu-kernels.ts';

export type AdapterReport =
  | { found: 'adapter'; name: string; software: boolean }
  | { found: 'no package' }
  | { found: 'no adapter' };

const navigatorObject = globalThis.navigator as unknown as { gpu?: unknown };

/** Looks for a graphics adapter in a process of its own: a broken driver can end that process, and its warnings stay there. */
export async function findAdapter(): Promise<AdapterReport> {
  const script = fileURLToPath(new URL('./webgpu-probe.ts', import.meta.url));
  try {
    const { stdout } = await promisify(execFile)(process.execPath, [script], { timeout: 30_000 });
    return JSON.parse(stdout) as AdapterReport;
  } catch {
    return { found: 'no adapter' };
  }
}

/** Makes WebGPU the current backend, on a software adapter too; gives the adapter's name or what is missing with its remedy. */
export async function openWebgpu(report: AdapterReport): Promise<Result<string>> {
  if (report.found !== 'adapter') return failure(`webgpu: ${adapterRemedy(report)}, or use --engine wasm`);
  const alreadyOpen = findBackend('webgpu') !== null;
  if (!alreadyOpen) {
    const { create, globals } = await import('webgpu');
    Object.assign(globalThis, globals);
    Object.defineProperty(navigatorObject, 'gpu', { value: create([]), configurable: true, writable: true });
    // The backend registers itself on import, and only where navigator.gpu exists.
    await import('@tensorflow/tfjs-backend-webgpu');
  }
  if (!(await setBackend('webgpu'))) return failure(`webgpu: ${report.name} does not open; use --engine wasm`);
  if (!alreadyOpen) {
    const backend = engine().backend as unknown as WebgpuBackend;
    spareHost(backend);
    registerWebgpuKernels(backend.device);
    watchErrors(backend.device);
  }
  return success(report.name);
}

/** Lets the process end: Dawn may keep it alive as long as `navigator.gpu` exists. */
export function closeWebgpu(): void {
  delete navigatorObject.gpu;
}

/** What is missing for WebGPU, with its remedy. */
export function adapterRemedy(report: Exclude<AdapterReport, { found: 'adapter' }>): string {
  return report.found === 'no package'
    ? 'the npm package "webgpu" is not installed; run npm install --include=optional'
    : 'no adapter was found; install a graphics driver with Vulkan (on Linux also the package libvulkan1; for NVIDIA without a display see "Engines" in README.md)';
}

/** Shader and memory errors do not throw in WebGPU, they leave wrong numbers; each must end the run instead. */
function watchErrors(device: GPUDevice): void {
  const stop = (message: string): void => {
    // Outside the event's call stack, where nothing can catch it.
    setImmediate(() => {
      throw new Error(`webgpu: ${message}`);
    });
  };
  device.addEventListener('uncapturederror', (event) => stop(event.error.message));
  void device.lost.then(({ reason, message }) => {
    if (reason !== 'destroyed') stop(`the device was lost: ${message}`);
  });
}
