/**
 * Spreads independent jobs (a label each, say) over worker threads, each with its own single-threaded WASM backend: on two
 * cores that beats one backend with two threads. Results do not depend on the number of threads.
 */
import { setImmediate } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import type { Engine } from './engine.ts';

/** What a job module exports; input, output and progress are structured-cloneable plain data. */
export type JobModule<Input, Output> = { job(input: Input, report: (progress: unknown) => void): Promise<Output> };

export type JobOptions = {
  /** Worker threads at most; `Engine.threads` is a good choice. */
  threads: number;
  engine: Engine['kind'];
  onProgress?: (jobIndex: number, progress: unknown) => void;
  signal?: AbortSignal;
};

/** What a worker thread says to its pool (thread.ts). */
export type ThreadMessage =
  | { type: 'ready' }
  | { type: 'progress'; index: number; progress: unknown }
  | { type: 'done'; index: number; output: unknown }
  | { type: 'failed'; error: unknown };

/**
 * Runs `job` of the module for every input and gives the outputs in the order of the inputs. On WebGPU, or with one thread or
 * one input, the jobs run one after another in this thread on the current backend. The first job that throws rejects with its own
 * error, an abort with the signal's reason; either way no thread is left behind.
 */
export async function runJobs<Input, Output>(jobModule: URL, inputs: Input[], options: JobOptions): Promise<Output[]> {
  options.signal?.throwIfAborted();
  const threads = Math.min(options.threads, inputs.length);
  if (threads > 1 && options.engine === 'wasm') return runInThreads(jobModule, inputs, threads, options);
  const { job } = (await import(jobModule.href)) as JobModule<Input, Output>;
  const outputs: Output[] = [];
  for (const [index, input] of inputs.entries()) {
    outputs.push(await job(input, (progress) => options.onProgress?.(index, progress)));
    // Lets an abort that is waiting in the event loop come through.
    await setImmediate();
    options.signal?.throwIfAborted();
  }
  return outputs;
}

async function runInThreads<Input, Output>(
  jobModule: URL,
  inputs: Input[],
  threads: number,
  { onProgress, signal }: JobOptions,
): Promise<Output[]> {
  const outputs: Output[] = [];
  const { promise, resolve, reject } = Promise.withResolvers<Output[]>();
  const abort = (): void => reject(signal?.reason);
  signal?.addEventListener('abort', abort);
  let started = 0;
  let finished = 0;
  const workers = Array.from({ length: threads }, () => {
    const worker = new Worker(new URL('./thread.ts', import.meta.url), { workerData: jobModule.href });
    worker.on('message', (message: ThreadMessage) => {
      if (message.type === 'failed') return reject(message.error);
      if (message.type === 'progress') return onProgress?.(message.index, message.progress);
      if (message.type === 'done') {
        outputs[message.index] = message.output as Output;
        if (++finished === inputs.length) return resolve(outputs);
      }
      if (started < inputs.length) worker.postMessage({ index: started, input: inputs[started++] });
    });
    worker.on('error', reject);
    worker.on('exit', (code) =>
      reject(new Error(`a worker thread ended with exit code ${code} before its job was done`)),
    );
    return worker;
  });
  try {
    return await promise;
  } finally {
    signal?.removeEventListener('abort', abort);
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}
