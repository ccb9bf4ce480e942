/**
 * Growing: what an attacker may have planted is larger than the smallest trigger that works.
 *
 * A dense faint trigger is recovered at a third of its norm or less, since a part of it is enough, and a head that forgets the part still
 * obeys the whole. So where a label's smallest trigger is far smaller than those of other labels, it is strengthened at norms up to a little beyond
 * theirs; a larger one would work on any network. Elsewhere that would cost recall of the label and gain nothing, unless the label was told by its
 * advantage (advantage.ts) and its triggers are hardly smaller than natural ones: then what was planted is known to outgrow those at the norm where they
 * were compared, and they grow up to there; its dense trigger joins them, for an attack on the whole image leaves a hundredth of its norm in the
 * smallest trigger. A dense trigger needs no such search: it covers the image already, and its relatives are the same pattern at other amplitudes.
 */
import type { Trigger } from '../../src/trigger/trigger.ts';
import { PLANTED_ADVANTAGE } from '../grade.ts';
import { runReportedJobs } from '../jobs.ts';
import { upperMedian } from '../median.ts';
import { randomSource, type RandomSource } from '../engine/random.ts';
import type { Report } from '../progress.ts';
import { coreOf, movedCopies, worksAnywhere } from './move.ts';
import { COMMON_NORM } from './advantage.ts';
import { labelFaintness } from './faint.ts';
import type { Finding, LabelScreening } from '../scan.ts';
import { isCovering, type CoveringForm, type Measured, type TriggerForm } from './measure.ts';
import { hasNoise } from './noise.ts';
import type { Recovery } from './screening.ts';
import type { StrengthenInput } from './strengthen.ts';

const GROWTH = [2, 3, 4, 6, 8];
/** Times the median norm of the other labels: how small a label's trigger must be, in one form, and how large its relatives may get. */
const USUAL = { small: 0.3, largest: 1.3 };
/** The same for a label that was told by its advantage and has a patch: where other labels need so much more, larger ones are made of natural features. */
const PATCH = { small: 0.37, largest: 1.3 };
/** And for one that has none: as large as where it was compared with others. */
const SPREAD = { small: Infinity, largest: COMMON_NORM };
/**
 * From how many times less amplitude on than other labels' its dense trigger tells of a label that what works anywhere is no patch, but a piece of something that covers
 * the image: 2.0 and 2.1 of a watermark, at most 1.4 of patches that work anywhere.
 */
const COVERED = 1.65;
const STARTS = 2;
const STEPS = 60;
/** Times the amplitude of the dense trigger of a label without a patch, whether or not that was found to be faint. */
const COVERING = [1, 1.25, 1.5, 1.75, 2];
/** Of a trigger that works anywhere: a patch is as good in its own size, and each copy has another place. */
const ANYWHERE = { growth: [1, 2, 3], starts: 4, copies: 128 };
/** Times its amplitude, which is larger for a smooth trigger to begin with, and times the median amplitude of the other labels; how much noise they need is not known. */
const FAINT_GROWTH = { dense: [1.5, 2.25], smooth: [1.5], warp: [1.5, 2.25, 3], noise: [1.5] };
const LARGEST_FAINT = { dense: 0.6, smooth: 0.6, warp: 1.5 };
/**
 * Times its amplitude: a dense trigger that is too faint to work on most images shows where it begins to. Not in a network where labels are told by their
 * advantage: it is as easily led astray by noise of its own, and images of the label pay for that (4 points of recall in two victims on CIFAR-10).
 */
const FADED = 0.75;
const STRENGTHEN = new URL('./strengthen.ts', import.meta.url);

/**
 * Relatives of recovered triggers, for unlearning them and not for judging it: `grown` are larger, and the guard watches for them too; `faded` are
 * fainter, and no attacker stamps what does not work. `extent`: what was planted is a patch at one place, as far as is known, or one that works anywhere (then
 * copies at random places are among the grown), or it covers the image.
 */
export type Relatives = {
  grown: Trigger[];
  faded: Trigger[];
  extent: 'one place' | 'anywhere' | 'whole image';
};

type Pools = ReadonlyMap<number, readonly Measured[]>;
type Told = Pick<Finding, 'targetLabel' | 'grade' | 'advantage'>;
type Scanned = {
  findings: readonly Told[];
  screenings: readonly LabelScreening[];
  /** The faintest dense trigger of every label. */
  dense: readonly Trigger[];
};

/**
 * Relatives of each label's triggers: of the dense ones if it has any, else larger ones of those that are small, none larger than the other labels' allow,
 * and of those that work anywhere copies at random places; of labels that were told by their advantage both.
 */
export async function relativesOf(
  recovery: Recovery,
  pools: Pools,
  { findings, screenings, dense: screened }: Scanned,
  report: Report,
): Promise<Relatives> {
  const told = new Map(findings.map((finding) => [finding.targetLabel, finding]));
  const hasAdvantage = ({ targetLabel }: Trigger): boolean => isToldByAdvantage(told.get(targetLabel)!);
  const natural = naturalNorms(screenings, pools);
  const random = randomSource(recovery.seed, 'grow');
  const growing: Growing[] = [];
  for (const [targetLabel, pool] of pools) {
    const isTold = hasAdvantage(pool[0]!.trigger);
    if (!isTold && pool.some(coversImage)) continue;
    const items = pool.filter((item) => !coversImage(item));
    const movable = await thoseThatWorkAnywhere(recovery, items, random);
    growing.push(limited({ targetLabel, items, movable }, isTold, screenings, natural));
  }
  const spread = growing.flatMap(({ targetLabel, isSpread }) => (isSpread ? targetLabel : []));
  // Of a label that was told by its amplitude alone nothing is known but that.
  const isBent = [...pools.values()].some(
    (pool) => pool.every(coversImage) && told.get(pool[0]!.trigger.targetLabel)!.advantage !== null,
  );
  const covering = screened
    .filter(({ targetLabel }) => spread.includes(targetLabel))
    .flatMap((trigger) => COVERING.map((factor) => scaled(trigger, factor)));
  const faint = [...pools.values()].flatMap((pool) => pool.filter(coversImage));
  const stronger = faint.flatMap(({ form, trigger, norm }) =>
    FAINT_GROWTH[form]
      .filter((factor) => form === 'noise' || factor * norm <= LARGEST_FAINT[form] * natural(form))
      .map((factor) => scaled(trigger, factor)),
  );
  const { larger, copies } = await growSmall(recovery, growing, natural, random, report);
  const grown = [...larger, ...covering, ...copies, ...stronger];
  const faded = faint
    .filter(({ form, trigger }) => form !== 'noise' && !hasAdvantage(trigger))
    .map(({ trigger }) => scaled(trigger, FADED));
  const extent = copies.length ? 'anywhere' : spread.length || isBent || hasNoise(pools) ? 'whole image' : 'one place';
  return { grown, faded, extent };
}

/** The small triggers of a label, if it has any, those of them that are patches which work anywhere, what their size is held against, and whether what was planted covers the image. */
type Growing = {
  targetLabel: number;
  items: readonly Measured[];
  movable: readonly Measured[];
  limits: typeof USUAL;
  isSpread: boolean;
};

/** What the small triggers of a label are held against; pieces of what covers the image work anywhere too, but are no patches. */
function limited(
  found: Pick<Growing, 'targetLabel' | 'items' | 'movable'>,
  isTold: boolean,
  screenings: readonly LabelScreening[],
  natural: Natural,
): Growing {
  if (!isTold) return { ...found, limits: USUAL, isSpread: false };
  const limits = found.items.some((item) => isSmall(item, PATCH, natural)) ? PATCH : SPREAD;
  const isPiece = found.movable.length > 0 && labelFaintness(screenings, found.targetLabel).dense >= COVERED;
  return { ...found, movable: isPiece ? [] : found.movable, limits, isSpread: isPiece || limits === SPREAD };
}

/** The median norm, in one form, of the labels that have no pool; 0 where there is none. */
type Natural = (form: TriggerForm) => number;

function naturalNorms(screenings: readonly LabelScreening[], pools: Pools): Natural {
  const medians = new Map<TriggerForm, number | undefined>(
    screenings.map(({ form, norms }) => [form, upperMedian(norms.filter((_, label) => !pools.has(label)))]),
  );
  return (form) => medians.get(form) ?? 0;
}

const coversImage = (item: Measured): item is Measured & { form: CoveringForm | 'noise' } => isCovering(item.form);

const isSmall = ({ form, norm }: Measured, { small }: Growing['limits'], natural: Natural): boolean =>
  norm <= small * natural(form);

const isToldByAdvantage = ({ grade, advantage }: Told): boolean =>
  grade === 'backdoor' && advantage !== null && advantage >= PLANTED_ADVANTAGE;

const scaled = (trigger: Trigger, factor: number): Trigger => {
  return { ...trigger, pattern: trigger.pattern.map((value) => factor * value) };
};

async function growSmall(
  recovery: Recovery,
  growing: readonly Growing[],
  natural: Natural,
  random: RandomSource,
  report: Report,
): Promise<{ larger: Trigger[]; copies: Trigger[] }> {
  const startsOfLarger: Start[] = [];
  const startsOfMovable: Start[] = [];
  for (const { items, movable, limits } of growing) {
    const isAllowed = ({ item, factor }: Start): boolean => factor * item.norm <= limits.largest * natural(item.form);
    startsOfMovable.push(...startsOf(movable, ANYWHERE.starts, ANYWHERE.growth).filter(isAllowed));
    if (!items.some((item) => isSmall(item, limits, natural))) continue;
    startsOfLarger.push(...startsOf(items, STARTS, GROWTH).filter(isAllowed));
  }
  const growth = jobsOf(recovery, startsOfLarger);
  // Both at once: there is often one job of each, which leaves a thread idle.
  const jobs = [...growth, ...jobsOf(recovery, startsOfMovable)];
  const { engine } = recovery;
  const strengthened = await runReportedJobs<StrengthenInput, Trigger[]>(STRENGTHEN, jobs, { engine, report });
  const larger = strengthened.slice(0, growth.length).flat();
  const byLabel = Map.groupBy(strengthened.slice(growth.length).flat(), ({ targetLabel }) => targetLabel);
  return { larger, copies: [...byLabel.values()].flatMap((own) => copiesOf(own, random)) };
}

/** A trigger to strengthen, and how many times its norm it may reach. */
type Start = { item: Measured; factor: number };

/** The smallest triggers of each form, each with every factor. */
const startsOf = (pool: readonly Measured[], count: number, factors: readonly number[]): Start[] =>
  [...Map.groupBy(pool, ({ form }) => form).values()].flatMap((ofForm) =>
    ofForm.slice(0, count).flatMap((item) => factors.map((factor) => ({ item, factor }))),
  );

/** The triggers of those forms whose most successful one works anywhere. */
async function thoseThatWorkAnywhere(
  recovery: Recovery,
  pool: readonly Measured[],
  random: RandomSource,
): Promise<Measured[]> {
  const found: Measured[] = [];
  for (const ofForm of Map.groupBy(pool, ({ form }) => form).values()) {
    const best = ofForm.reduce((most, item) => (item.hitRate > most.hitRate ? item : most));
    if (await worksAnywhere(recovery, best.trigger, random)) found.push(...ofForm);
  }
  return found;
}

function copiesOf(triggers: readonly Trigger[], random: RandomSource): Trigger[] {
  const cores = triggers.map(coreOf);
  return Array.from({ length: ANYWHERE.copies }).flatMap(() =>
    movedCopies(cores[random.integer(cores.length)]!, 1, 0, random),
  );
}

/** A job for the triggers of each form. */
function jobsOf({ network, weights, split, seed }: Recovery, starts: readonly Start[]): StrengthenInput[] {
  return [...Map.groupBy(starts, ({ item }) => item.form).values()].map((ofForm) => {
    const triggers = ofForm.map(({ item }) => item.trigger);
    const budgets = ofForm.map(({ factor }) => factor);
    return { network, weights, images: split.learn, triggers, budgets, steps: STEPS, seed };
  });
}
