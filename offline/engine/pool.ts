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

/** What a pool asks of a worker thread (thread.ts), and what that says in return. */
export type ThreadTask = { module: string; index: number; input: unknown };
export type ThreadMessage =
  | { type: 'progress'; index: number; progress: unknown }
  | { type: 'done'; index: number; output: unknown }
  | { type: 'failed'; error: unknown };

/** Threads that have done their jobs and wait for more; they cost seconds to start and do not keep the process alive. */
const idle: Worker[] = [];

/**
 * Runs `job` of the module for every input and gives the outputs in the order of the inputs. On WebGPU, or with one thread or
 * one input, the jobs run one after another in this thread on the current backend. The first job that throws rejects with its own
 * error, an abort with the signal's reason; either way the threads it used end. Those of a run that succeeds wait for the next one.
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
  const next = (worker: Worker): void => {
    if (started < inputs.length) {
      worker.postMessage({ module: jobModule.href, index: started, input: inputs[started++] } satisfies ThreadTask);
    }
  };
  const end = (code: number): void =>
    reject(new Error(`a worker thread ended with exit code ${code} before its job was done`));
  const workers = Array.from({ length: threads }, () => {
    const worker = idle.pop() ?? new Worker(new URL('./thread.ts', import.meta.url));
    const hear = (message: ThreadMessage): void => {
      if (message.type === 'failed') return reject(message.error);
      if (message.type === 'progress') return onProgress?.(message.index, message.progress);
      outputs[message.index] = message.output as Output;
      if (++finished === inputs.length) return resolve(outputs);
      next(worker);
    };
    worker.on('message', hear).on('error', reject).on('exit', end);
    worker.ref();
    next(worker);
    return { worker, release: () => worker.off('message', hear).off('error', reject).off('exit', end).unref() };
  });
  try {
    const done = await promise;
    for (const { worker, release } of workers) {
      release();
      idle.push(worker);
    }
    return done;
  } catch (error) {
    await Promise.all(workers.map(({ worker }) => worker.terminate()));
    throw error;
  } finally {
    signal?.removeEventListener('abort', abort);
  }
}
