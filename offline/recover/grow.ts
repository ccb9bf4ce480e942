/**
 * Growing: what an attacker may have planted is larger than the smallest trigger that works.
 *
 * A dense faint trigger is recovered at a third of its norm or less, since a part of it is enough, and a head that forgets the part still
 * obeys the whole. So where a label's smallest trigger is far smaller than those of other labels, it is strengthened at norms up to a little beyond
 * theirs; a larger one would work on any network. Elsewhere that would cost recall of the label and gain nothing. A dense trigger needs no
 * such search: it covers the image already, and its relatives are the same pattern at other amplitudes.
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
/** Times its amplitude, and times the median amplitude of the other labels. */
const DENSE_GROWTH = [1.5, 2.25];
const LARGEST_DENSE = 0.6;
/** Times its amplitude: a dense trigger that is too faint to work on most images shows where it begins to. */
const FADED = 0.75;
const STRENGTHEN = new URL('./strengthen.ts', import.meta.url);

/**
 * Relatives of recovered triggers, for unlearning them and not for judging it: `grown` are larger, and the guard watches for them too; `faded` are
 * fainter, and no attacker stamps what does not work.
 */
export type Relatives = { grown: Trigger[]; faded: Trigger[] };

type Pools = ReadonlyMap<number, readonly Measured[]>;

/** Relatives of each label's triggers: of the dense ones if it has any, else larger ones of its smallest triggers, none larger than the other labels' allow. */
export async function relativesOf(
  recovery: Recovery,
  pools: Pools,
  screenings: readonly LabelScreening[],
  report: Report,
): Promise<Relatives> {
  const isDense = ({ form }: Measured): boolean => form === 'dense';
  const small = new Map([...pools].filter(([, pool]) => !pool.some(isDense)));
  const dense = [...pools.values()].flatMap((pool) => pool.filter(isDense));
  const amplitudes = screenings.find(({ form }) => form === 'dense')?.norms ?? [];
  const largest = LARGEST_DENSE * naturalOf(amplitudes, pools);
  const stronger = dense.flatMap(({ trigger, norm }) =>
    DENSE_GROWTH.filter((factor) => factor * norm <= largest).map((factor) => scaled(trigger, factor)),
  );
  return {
    grown: [...(await growSmall(recovery, small, pools, screenings, report)), ...stronger],
    faded: dense.map(({ trigger }) => scaled(trigger, FADED)),
  };
}

/** The median norm of the labels that have no pool. */
function naturalOf(norms: readonly number[], pools: Pools): number {
  const others = norms.filter((_, label) => !pools.has(label)).toSorted((a, b) => a - b);
  return others[others.length >> 1] ?? 0;
}

const scaled = (trigger: Trigger, factor: number): Trigger => {
  return { ...trigger, pattern: trigger.pattern.map((value) => factor * value) };
};

async function growSmall(
  { network, weights, split, seed, engine }: Recovery,
  candidates: Pools,
  pools: Pools,
  screenings: readonly LabelScreening[],
  report: Report,
): Promise<Trigger[]> {
  const isSmall = (pool: readonly Measured[]): boolean =>
    screenings.some(({ form, norms }) =>
      pool.some((item) => item.form === form && item.norm <= SMALL * naturalOf(norms, pools)),
    );
  const small = [...candidates.values()].filter(isSmall);
  const jobs = screenings.flatMap(({ form, norms }): StrengthenInput[] => {
    const largest = LARGEST * naturalOf(norms, pools);
    const grown = small.flatMap((pool) =>
      pool
        .filter((item) => item.form === form)
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
