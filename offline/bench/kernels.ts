/** The project's convolution kernels beside those of the tfjs WASM backend, turn by turn in one process. */
import '@tensorflow/tfjs';
import '@tensorflow/tfjs-backend-wasm';
import {
  backend,
  dispose,
  engine,
  getKernel,
  randomNormal,
  type KernelFunc,
  type NamedAttrMap,
  type Rank,
  type Tensor,
  type TensorInfo,
} from '@tensorflow/tfjs-core';
import type { BackendWasm } from '@tensorflow/tfjs-backend-wasm';
import { openWasm } from '../engine/wasm.ts';
import { upperMedian } from '../median.ts';

type Layer = { images: [number, number, number, number]; filters: number; side: number; stride: number };
/** Layers of residual networks, and a small one. */
const LAYERS: Layer[] = [
  { images: [16, 32, 32, 64], filters: 64, side: 3, stride: 1 },
  { images: [16, 32, 32, 64], filters: 128, side: 3, stride: 2 },
  { images: [16, 16, 16, 128], filters: 256, side: 3, stride: 2 },
  { images: [64, 32, 32, 16], filters: 32, side: 3, stride: 2 },
  { images: [16, 32, 32, 64], filters: 256, side: 1, stride: 1 },
  { images: [16, 32, 32, 64], filters: 128, side: 1, stride: 2 },
  { images: [16, 64, 64, 3], filters: 64, side: 7, stride: 2 },
  { images: [64, 14, 14, 8], filters: 16, side: 5, stride: 1 },
];
const ROUNDS = 15;
const PASSES = {
  forward: 'Conv2D',
  'image gradient': 'Conv2DBackpropInput',
  'filter gradient': 'Conv2DBackpropFilter',
};

/** Prints the median milliseconds of every pass of every layer with either kernel, and how many times as fast ours is. */
export async function benchKernels(): Promise<void> {
  // What is registered before the engine is opened is the backend's own.
  const registered = Object.values(PASSES).map((kernel) => [kernel, getKernel(kernel, 'wasm')] as const);
  const opened = await openWasm();
  if (!opened.ok) throw new Error(opened.error);
  // The backend has set up those alone that are still registered.
  for (const [, config] of registered) config?.setupFunc?.(backend());
  const own = new Map(registered.map(([kernel, config]) => [kernel, config?.kernelFunc]));
  process.stdout.write('layer                      pass               ours, ms  backend, ms  ratio\n');
  for (const layer of LAYERS) {
    for (const [pass, kernel] of Object.entries(PASSES)) process.stdout.write(`${compare(layer, pass, kernel, own)}\n`);
  }
}

function compare(layer: Layer, pass: string, kernel: string, own: ReadonlyMap<string, KernelFunc | undefined>): string {
  const { images, filters, side, stride } = layer;
  const call = callOf(layer, kernel);
  const theirs = own.get(kernel);
  const [ours, backends]: [number[], number[]] = [[], []];
  for (let round = 0; round < ROUNDS; round++) {
    ours.push(timed(() => engine().runKernel<Tensor>(kernel, call.inputs, call.attrs)));
    if (theirs) backends.push(timed(() => theirs({ ...call, backend: backend() }) as TensorInfo));
  }
  dispose(call.inputs);
  const name = `${images.slice(0, 3).join('x')}x${images[3]}-${filters} ${side}x${side}/${stride}`;
  const mine = upperMedian(ours)!;
  const other = upperMedian(backends);
  const [ms, ratio] = other === undefined ? ['none', ''] : [other.toFixed(1), (other / mine).toFixed(1)];
  return `${name.padEnd(26)} ${pass.padEnd(17)} ${mine.toFixed(1).padStart(9)} ${ms.padStart(12)} ${ratio.padStart(6)}`;
}

type Call = { inputs: Record<string, Tensor>; attrs: NamedAttrMap };

function callOf({ images, filters, side, stride }: Layer, kernel: string): Call {
  const pad = (side - 1) / 2;
  const reduced = (size: number): number => Math.floor((size + 2 * pad - side) / stride) + 1;
  const filterShape: [number, number, number, number] = [side, side, images[3], filters];
  const x = randomNormal<Rank.R4>(images);
  const filter = randomNormal<Rank.R4>(filterShape);
  const dy = randomNormal<Rank.R4>([images[0], reduced(images[1]), reduced(images[2]), filters]);
  const attrs = {
    strides: [stride, stride],
    pad,
    dataFormat: 'NHWC',
    dilations: [1, 1],
    inputShape: images,
    filterShape,
  };
  const inputs = kernel === 'Conv2D' ? { x, filter } : kernel === 'Conv2DBackpropInput' ? { dy, filter } : { x, dy };
  dispose([x, filter, dy].filter((tensor) => !Object.values(inputs).includes(tensor)));
  return { inputs, attrs };
}

/** The milliseconds of a kernel; WASM has computed its result when it returns. */
function timed(run: () => TensorInfo): number {
  const start = performance.now();
  const { dataId } = run();
  const took = performance.now() - start;
  (backend() as BackendWasm).disposeData(dataId);
  return took;
}
