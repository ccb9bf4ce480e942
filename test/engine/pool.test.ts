import { beforeAll, expect, test } from 'vitest';
import { runJobs } from '../../offline/engine/pool.ts';
import { openWasm } from '../../offline/engine/wasm.ts';
import type { TrainInput, TrainOutput } from './train-job.ts';

const jobModule = new URL('./train-job.ts', import.meta.url);
const seeds = (count: number): TrainInput[] => Array.from({ length: count }, (_, seed) => ({ seed }));
const run = (inputs: TrainInput[], threads: number, signal?: AbortSignal): Promise<TrainOutput[]> =>
  runJobs(jobModule, inputs, { threads, engine: 'wasm', ...(signal && { signal }) });
const weights = (outputs: TrainOutput[]): Float32Array[] => outputs.map((output) => output.weights);

/** Worker threads that are alive; each holds one message port of this thread open. */
const livePorts = (): number => process.getActiveResourcesInfo().filter((name) => name === 'MessagePort').length;

beforeAll(async () => {
  await openWasm();
});

test('the outputs are the same, bit by bit, whatever the number of threads', async () => {
  const alone = await run(seeds(3), 1);
  const two = await run(seeds(3), 2);
  const many = await run(seeds(3), 8);
  expect(weights(two)).toEqual(weights(alone));
  expect(weights(many)).toEqual(weights(alone));
  expect(weights(alone)[0]).not.toEqual(weights(alone)[1]);
  const here = new Set(alone.map(({ threadId }) => threadId));
  expect(two.some(({ threadId }) => here.has(threadId))).toBe(false);
});

test.each([1, 2])('every job reports its progress in order (%d threads)', async (threads) => {
  const steps = new Map<number, unknown[]>();
  const onProgress = (index: number, progress: unknown): void => {
    steps.set(index, [...(steps.get(index) ?? []), progress]);
  };
  await runJobs(jobModule, seeds(3), { threads, engine: 'wasm', onProgress });
  const expected = [0, 1, 2, 3, 4].map((step) => ({ step }));
  expect([...steps].sort(([a], [b]) => a - b)).toEqual([0, 1, 2].map((index) => [index, expected]));
});

test.each([1, 2])('an error in a job comes through with its message and stack (%d threads)', async (threads) => {
  const inputs = [{ seed: 0 }, { seed: 1, fail: true }, { seed: 2 }];
  const error: unknown = await run(inputs, threads).catch((reason: unknown) => reason);
  expect(error).toMatchObject({ name: 'RangeError', message: 'job 1 was told to fail' });
  expect((error as Error).stack).toContain('train-job.ts');
});

test('a job module that does not load fails the run', async () => {
  const missing = new URL('./no-such-job.ts', import.meta.url);
  await expect(runJobs(missing, seeds(2), { threads: 2, engine: 'wasm' })).rejects.toThrow('no-such-job');
});

test.each([1, 2])('an abort ends the run with its reason and leaves no thread behind (%d threads)', async (threads) => {
  const before = livePorts();
  const controller = new AbortController();
  const running = run(
    Array.from({ length: 40 }, (_, seed) => ({ seed, waitMs: 50 })),
    threads,
    controller.signal,
  );
  setTimeout(() => controller.abort(new Error('stopped by hand')), 200);
  await expect(running).rejects.toThrow('stopped by hand');
  expect(livePorts()).toBeLessThanOrEqual(before);
});

test('a signal that is aborted already starts nothing', async () => {
  await expect(run(seeds(2), 2, AbortSignal.abort(new Error('too late')))).rejects.toThrow('too late');
});

test('no inputs give no outputs', async () => {
  expect(await run([], 4)).toEqual([]);
});
