import type { Engine } from './engine/engine.ts';
import { runJobs } from './engine/pool.ts';
import type { Report } from './progress.ts';

/** Runs jobs of one module on the engine's threads and reports their steps, which add up, as one count. */
export async function runReportedJobs<Input extends { steps: number }, Output>(
  jobModule: URL,
  jobs: Input[],
  { engine, report }: { engine: Engine; report: Report },
): Promise<Output[]> {
  const done = jobs.map(() => 0);
  const steps = jobs.reduce((sum, job) => sum + job.steps, 0);
  return runJobs<Input, Output>(jobModule, jobs, {
    threads: engine.threads,
    engine: engine.kind,
    onProgress: (index, progress) => {
      done[index] = (progress as { step: number }).step;
      report({ step: done.reduce((sum, value) => sum + value, 0), steps });
    },
  });
}

/** Parts a list among the engine's threads, a job for each part, and puts the outputs, one for each item, together again. */
export async function runShared<Item, Input, Output>(
  jobModule: URL,
  items: readonly Item[],
  jobOf: (share: Item[]) => Input,
  { threads, kind }: Engine,
): Promise<Output[]> {
  const jobs = chunks(items, Math.ceil(items.length / threads)).map(jobOf);
  return (await runJobs<Input, Output[]>(jobModule, jobs, { threads, engine: kind })).flat();
}

/** A list in parts of at most `size`. */
export function chunks<T>(items: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, index) =>
    items.slice(index * size, (index + 1) * size),
  );
}
