import { getKernel, registerKernel, unregisterKernel, type KernelFunc } from '@tensorflow/tfjs-core';

type Call = Parameters<KernelFunc>[0];

/** Puts a kernel before the one that is registered for a backend, which it is given for the calls that it leaves as they are. */
export function wrapKernel(
  backendName: 'wasm' | 'webgpu',
  kernelName: string,
  kernel: (call: Call, original: KernelFunc) => ReturnType<KernelFunc>,
): void {
  const original = getKernel(kernelName, backendName);
  unregisterKernel(kernelName, backendName);
  registerKernel({ ...original, kernelFunc: (call) => kernel(call, original.kernelFunc) });
}
