/**
 * Growing: what an attacker may have planted is larger than the smallest trigger that works.
 *
 * A dense faint trigger is recovered at a third of its norm or less, since a part of it is enough, and a head that forgets the part still
 * obeys the whole. So where a label's smallest trigger is far smaller than those of other labels, it is strengthened at norms up to a little beyond
 * theirs; a larger one would work on any network. Elsewhere that would cost recall of the label and gain nothing.
 */
import type { Trigger } from '../../src/trigger/trigger.ts';
import { runReportedJobs } from '../jobs.ts';
import type { Report } from '../progress.ts';
import type { LabelScreening } from '../scan.ts';
import type { Measured } from './measure.ts';
import type { Recovery } from './screening.ts';
import type { StrengthenInput } from './strengthen.ts';

const GROWTH = [2, 3, 4, 6, 8];
/** Times the median norm of the other labels: how small a label's trigger must be, in one form, and how large its relatives may get. */
const SMALL = 0.3;
const LARGEST = 1.3;
const STARTS = 2;
const STEPS = 60;
const STRENGTHEN = new URL('./strengthen.ts', import.meta.url);

/** Larger relatives of the smallest triggers of each label and form, none larger than the other labels' allow; for unlearning, not for judging it. */
export async function growTriggers(
  recovery: Recovery,
  pools: ReadonlyMap<number, readonly Measured[]>,
  screenings: readonly LabelScreening[],
  report: Report,
): Promise<Trigger[]> {
  const { network, weights, split, seed, engine } = recovery;
  const naturalOf = (norms: readonly number[]): number => {
    const others = norms.filter((_, label) => !pools.has(label)).toSorted((a, b) => a - b);
    return others[others.length >> 1] ?? 0;
  };
  const isSmall = (pool: readonly Measured[]): boolean =>
    screenings.some(({ kind, norms }) =>
      pool.some(({ trigger, norm }) => trigger.kind === kind && norm <= SMALL * naturalOf(norms)),
    );
  const small = [...pools.values()].filter(isSmall);
  const jobs = screenings.flatMap(({ kind, norms }): StrengthenInput[] => {
    const largest = LARGEST * naturalOf(norms);
    const grown = small.flatMap((pool) =>
      pool
        .filter(({ trigger }) => trigger.kind === kind)
        .slice(0, STARTS)
        .flatMap(({ trigger, norm }) =>
          GROWTH.filter((factor) => factor * norm <= largest).map((factor) => ({ trigger, factor })),
        ),
    );
    const triggers = grown.map(({ trigger }) => trigger);
    const budgets = grown.map(({ factor }) => factor);
    return triggers.length ? [{ network, weights, images: split.learn, triggers, budgets, steps: STEPS, seed }] : [];
  });
  return (await runReportedJobs<StrengthenInput, Trigger[]>(STRENGTHEN, jobs, { engine, report })).flat();
}
