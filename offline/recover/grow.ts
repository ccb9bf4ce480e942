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
/** Times its amplitude; times the median amplitude of the other labels. */
const DENSE_GROWTH = [1.5, 2.25];
const LARGEST_DENSE = 0.6;
const STRENGTHEN = new URL('./strengthen.ts', import.meta.url);

/** Times its amplitude: a dense trigger that is too faint to work on most images shows where it begins to. */
const FADED = 0.75;

/** Fainter relatives of dense triggers, for unlearning only: no attacker stamps what does not work. */
export const fadeTriggers = (pools: Iterable<readonly Measured[]>): Trigger[] =>
  [...pools].flatMap((pool) => pool.flatMap(({ form, trigger }) => (form === 'dense' ? [scaled(trigger, FADED)] : [])));

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
    screenings.some(({ form, norms }) =>
      pool.some((item) => item.form === form && item.norm <= SMALL * naturalOf(norms)),
    );
  const [dense, others] = parted([...pools.values()], (pool) => pool.some(({ form }) => form === 'dense'));
  const small = others.filter(isSmall);
  const jobs = screenings.flatMap(({ form, norms }): StrengthenInput[] => {
    const largest = LARGEST * naturalOf(norms);
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
  const strengthened = await runReportedJobs<StrengthenInput, Trigger[]>(STRENGTHEN, jobs, { engine, report });
  const amplitudes = screenings.find(({ form }) => form === 'dense')?.norms ?? [];
  return [
    ...strengthened.flat(),
    ...dense.flatMap((pool) => atAmplitudes(pool, LARGEST_DENSE * naturalOf(amplitudes))),
  ];
}

/** The dense triggers of a pool, stronger. */
const atAmplitudes = (pool: readonly Measured[], largest: number): Trigger[] =>
  pool
    .filter(({ form }) => form === 'dense')
    .flatMap(({ trigger, norm }) =>
      DENSE_GROWTH.filter((factor) => factor * norm <= largest).map((factor) => scaled(trigger, factor)),
    );

const scaled = (trigger: Trigger, factor: number): Trigger => {
  return { ...trigger, pattern: trigger.pattern.map((value) => factor * value) };
};

const parted = <T>(items: readonly T[], isFirst: (item: T) => boolean): [T[], T[]] => [
  items.filter(isFirst),
  items.filter((item) => !isFirst(item)),
];
