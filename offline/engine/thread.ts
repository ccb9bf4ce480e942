/** The entry of a worker thread of the pool: opens its own WASM backend, then does one job after another. */
import { parentPort, workerData } from 'node:worker_threads';
import type { JobModule, ThreadMessage } from './pool.ts';
import { openWasm } from './wasm.ts';

const port = parentPort!;
const say = (message: ThreadMessage): void => port.postMessage(message);

const opened = await openWasm();
if (!opened.ok) throw new Error(opened.error);
const { job } = (await import(workerData as string)) as JobModule<unknown, unknown>;

port.on('message', ({ index, input }: { index: number; input: unknown }) => {
  job(input, (progress) => say({ type: 'progress', index, progress })).then(
    (output) => say({ type: 'done', index, output }),
    (error: unknown) => say({ type: 'failed', error }),
  );
});
say({ type: 'ready' });
