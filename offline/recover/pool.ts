/** The pool of one label's triggers: what several searches and the staircase's generators found and held-back images confirm. */
import type { Trigger } from '../../src/trigger/trigger.ts';
import { runReportedJobs } from '../jobs.ts';
import type { Report } from '../progress.ts';
import { measureTriggers, type Measured } from './measure.ts';
import type { Recovery } from './screening.ts';
import type { StaircaseInput } from './staircase.ts';

/** tau: a candidate that fewer held-back images obey is abandoned. */
export const CONFIRMED_HIT_RATE = 0.75;
/** Larger triggers than this many times the smallest of their form hide the image itself; unlearning them costs accuracy. */
const NORM_RANGE = 1.5;
const LEVELS = [0.5, 0.8, 0.95];
const STEPS = 60;
const DRAWS = 8;
const STAIRCASE = new URL('./staircase.ts', import.meta.url);

/** Searches' results that work and are not much larger than the smallest of their form, the smallest first. */
export function confirmed(measured: readonly Measured[]): Measured[] {
  const working = measured.filter(({ hitRate }) => hitRate >= CONFIRMED_HIT_RATE);
  const fits = ({ form, norm }: Measured): boolean =>
    norm <= NORM_RANGE * Math.min(...working.flatMap((other) => (other.form === form ? other.norm : [])));
  return working.filter(fits).toSorted((a, b) => a.norm - b.norm);
}

/**
 * Climbs the staircase from the most reliable trigger of each label: a generator per level, a few triggers drawn from each, those
 * that held-back images confirm. Returns them by label, joined with what the searches found. Noise is drawn from a distribution as it is.
 */
export async function climbStaircases(
  recovery: Recovery,
  searched: ReadonlyMap<number, readonly Measured[]>,
  report: Report,
): Promise<Map<number, Measured[]>> {
  const { network, weights, split, seed, engine } = recovery;
  const starts = [...searched.values()].flatMap(
    (pool) => mostReliable(pool.filter(({ form }) => form !== 'noise')) ?? [],
  );
  const jobs = starts.flatMap(({ trigger: screened }) =>
    LEVELS.map((level): StaircaseInput => {
      return { network, weights, images: split.learn, screened, level, steps: STEPS, draws: DRAWS, seed };
    }),
  );
  const drawn = await runReportedJobs<StaircaseInput, Trigger[]>(STAIRCASE, jobs, { engine, report });
  const candidates = drawn.flatMap((triggers, index) => {
    const { form: start } = starts[Math.floor(index / LEVELS.length)]!;
    // A generator gives every pixel a value of its own.
    const form = start === 'smooth' ? 'dense' : start;
    return triggers.map((trigger) => ({ form, trigger }));
  });
  const measured = await measureTriggers(recovery, split.heldBack, candidates);
  return new Map(
    [...searched].map(([label, found]) => {
      return [label, confirmed([...found, ...measured.filter(({ trigger }) => trigger.targetLabel === label)])];
    }),
  );
}

const mostReliable = (found: readonly Measured[]): Measured | undefined =>
  found.toSorted((a, b) => b.hitRate - a.hitRate)[0];
