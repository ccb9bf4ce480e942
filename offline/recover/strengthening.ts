/** Strengthening the smallest triggers of a few labels on worker threads, measured on held-back images. */
import type { Trigger } from '../../src/trigger/trigger.ts';
import { runReportedJobs } from '../jobs.ts';
import type { Report } from '../progress.ts';
import { isOnGrid, measureTriggers, type Measured } from './measure.ts';
import type { Recovery } from './screening.ts';
import type { StrengthenInput } from './strengthen.ts';

const STEPS = 100;
const BUDGET = 1.25;
const STRENGTHEN = new URL('./strengthen.ts', import.meta.url);

/** The smallest trigger of every form in each label's pool. */
export const smallestOfForm = (pools: ReadonlyMap<number, readonly Measured[]>): Measured[] =>
  [...pools.values()].flatMap((pool) =>
    [...Map.groupBy(pool, ({ form }) => form).values()].map((sameForm) => sameForm[0]!),
  );

/** The smallest triggers of each form, within a quarter more norm as convincing as they get; smooth triggers and warps are left out. */
export async function strengthenPools(
  recovery: Recovery,
  pools: ReadonlyMap<number, readonly Measured[]>,
  report: Report,
): Promise<Measured[]> {
  const { network, weights, split, seed, engine } = recovery;
  const starts = smallestOfForm(pools).filter(({ form }) => !isOnGrid(form));
  const groups = [...Map.groupBy(starts, ({ form }) => form)];
  const jobs = groups.map(([, sameForm]): StrengthenInput => {
    const triggers = sameForm.map(({ trigger }) => trigger);
    const budgets = triggers.map(() => BUDGET);
    return { network, weights, images: split.learn, triggers, budgets, steps: STEPS, seed };
  });
  const strengthened = await runReportedJobs<StrengthenInput, Trigger[]>(STRENGTHEN, jobs, { engine, report });
  const candidates = groups.flatMap(([form], index) => strengthened[index]!.map((trigger) => ({ form, trigger })));
  return measureTriggers(recovery, split.heldBack, candidates);
}
