/** The entry of a worker thread of the pool: opens its own WASM backend, then does one job after another. */
import { parentPort } from 'node:worker_threads';
import type { JobModule, ThreadMessage, ThreadTask } from './pool.ts';
import { openWasm } from './wasm.ts';

const port = parentPort!;
const say = (message: ThreadMessage): void => port.postMessage(message);

const opened = await openWasm();
if (!opened.ok) throw new Error(opened.error);

async function run({ module, index, input }: ThreadTask): Promise<void> {
  const { job } = (await import(module)) as JobModule<unknown, unknown>;
  const output = await job(input, (progress) => say({ type: 'progress', index, progress }));
  say({ type: 'done', index, output });
}

port.on('message', (task: ThreadTask) => {
  run(task).catch((error: unknown) => say({ type: 'failed', error }));
});
