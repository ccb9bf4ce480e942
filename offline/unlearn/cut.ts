/** Where trunk and head are parted: as late as the probe still separates and the head can still unlearn, by held-back measurement. */
import { cutCandidates, headWeights, headWeightShapes } from '../../src/network/cuts.ts';
import type { Network } from '../../src/network/network.ts';
import { attackSuccessRate, cleanMetrics, type Answers } from '../../src/metrics.ts';
import { judgeHeldBack, strongestHit } from '../../src/release/gate.ts';
import type { HostWeights } from '../../src/network/safetensors.ts';
import type { Trigger } from '../../src/trigger/trigger.ts';
import { spread } from '../batch.ts';
import { calibrate, type Calibration } from '../calibrate.ts';
import { selectImages } from '../data/dataset.ts';
import type { Engine } from '../engine/engine.ts';
import { runReportedJobs, runShared } from '../jobs.ts';
import { mean } from '../mean.ts';
import { answersOf } from '../predict.ts';
import type { Report } from '../progress.ts';
import { labelHitRates } from '../recover/measure.ts';
import type { Relatives } from '../recover/grow.ts';
import type { Split } from '../recover/screening.ts';
import { ASCENT_WEIGHTS, type Ascent } from './ascent.ts';
import { seeHeldBack } from './held-back.ts';
import { givenBack, mixOf, relaxedGoal, victimGoal } from './interpolate.ts';
import type { LateUnlearning, Unlearned, UnlearnedLate, Unlearning } from './late.ts';
import { restoreLabels } from './restore.ts';
import type { SeparationInput } from './separation.ts';
import type { Moment } from './trade-off.ts';

const LATE = new URL('./late.ts', import.meta.url);
const ASCENT = new URL('./ascent.ts', import.meta.url);
const SEPARATION = new URL('./separation.ts', import.meta.url);
const STEPS = { late: 400, ascent: 150 };
/** Late unlearning is done twice, from other draws, as two cores do side by side, and the heads are averaged. */
const OTHER_SEED = 1_000_000;
/** How far a head's obedience to recovered triggers may lie above its natural rate. */
const OBEDIENCE_LIMIT = 0.03;
/** How much of the probability of the true label it may cost on average: on few images that tells the accuracy that will be lost better than their own does. */
const CONFIDENCE_LIMIT = 0.015;
/** The same of the images of an unlearned label, which pay most: their probabilities tell the recall that will be lost. */
const TARGET_CONFIDENCE_LIMIT = 0.05;
const SEPARATION_WANTED = 0.95;
const CANDIDATES = 3;
/**
 * By how much a cut that is tried later must be better where none holds: earlier cuts leave more of a trigger of the whole image, which recovered ones do
 * not tell. That is what chance makes of 150 held-back images; of more it makes less, by the root of their number.
 */
const ADVANTAGE_WANTED = { images: 150, advantage: 0.05 };
/**
 * What a trial's probes may flag of clean images: more than the guard may, for of some 350 the guard's rate would leave the single largest score for a threshold, and
 * that is chance. So a few lie above it.
 */
const TRIAL_FALSE_POSITIVE_RATE = 0.012;

/** A victim and what was recovered from it. */
export type UnlearnInput = Relatives & {
  network: Network;
  weights: HostWeights;
  split: Split;
  /** The pool of each label that is to be unlearned. */
  pools: readonly (readonly Trigger[])[];
  seed: number;
  engine: Engine;
};

export type CutInput = UnlearnInput & {
  /** What a fresh recovery found when only the others had been unlearned. */
  lingering: readonly Trigger[];
  /** Which cuts to try, in this order. */
  cuts: readonly string[];
};

export type CutTrial = Judged & {
  cut: string;
  weights: HostWeights;
  tradeOff: Moment[];
  /** The share of images that each label [K] gets under every trigger, pool after pool. */
  hitRates: number[][];
};

/** What a cut is judged by. */
export type Judged = {
  /** Success rate of the recovered triggers beyond the victim's natural rate; confidence lost, and by the images of the unlearned label that lost most; all held-back. */
  obedience: number;
  confidenceLoss: number;
  targetConfidenceLoss: number;
  /** The true-positive rate of the trial's probes, held-back; null where it was not asked. */
  separation: number | null;
  /** What the gate would refuse it for, without a fresh recovery. */
  failures: string[];
};

/**
 * Unlearns pools behind one cut (`late`), or in all layers (`ascent`). Late heads are averages (model soups, Wortsman et al., arXiv 2203.05482: runs that
 * start from the same weights end where their mean is as good as either, or better), and give back what they cost: a part of the way to the victim's, and
 * before that, where the triggers cover the image, of the way to relaxed ones. To relax what has forgotten a patch gives hardly anything back but the patch.
 * Where a fresh recovery found more, nothing is given back: the triggers recovered before it have shown that they do not tell what comes back. The moments are
 * those of the first head, before that.
 */
export async function unlearn(
  { network, weights, split, pools, grown, faded, extent, lingering, seed, engine }: CutInput,
  method: 'late' | 'ascent',
  cut: string,
  report: Report,
): Promise<Unlearned> {
  const triggers = [...pools.flat(), ...grown, ...faded, ...lingering];
  const job: Unlearning = {
    network,
    weights,
    cut,
    images: split.learn,
    triggers,
    steps: STEPS[method],
    seed,
    watched: { images: split.heldBack, triggers: pools.flat() },
  };
  if (method === 'ascent') {
    const jobs = [{ ...job, ...ASCENT_WEIGHTS }];
    return (await runReportedJobs<Ascent, Unlearned>(ASCENT, jobs, { engine, report }))[0]!;
  }
  const givesBack = !lingering.length;
  const relaxes = givesBack && extent === 'whole image';
  const jobs = [seed, seed + OTHER_SEED].map((own): LateUnlearning => ({ ...job, relaxes, seed: own }));
  const [one, other] = await runReportedJobs<LateUnlearning, UnlearnedLate>(LATE, jobs, { engine, report });
  const heldBack = await seeHeldBack({ network, images: split.heldBack, triggers }, weights, cut);
  const restoredMean = (first: HostWeights, second: HostWeights): Promise<HostWeights> => {
    const [head, otherHead] = [first, second].map((learned) => headWeights(network, learned, cut));
    return restoreLabels(heldBack, new Map([...weights, ...mixOf(head!, otherHead!, 1 / 2)]));
  };
  let kept = await restoredMean(one!.weights, other!.weights);
  if (relaxes) kept = await givenBack(heldBack, kept, relaxedGoal(await restoredMean(one!.relaxed!, other!.relaxed!)));
  if (givesBack) kept = await givenBack(heldBack, kept, victimGoal(weights));
  return { weights: kept, tradeOff: one!.tradeOff };
}

/** One candidate for every set of head weights that a cut can free, the latest first. */
export function distinctCuts(network: Network): string[] {
  const byHead = Map.groupBy(cutCandidates(network), (cut) => [...headWeightShapes(network, cut).keys()].join());
  return [...byHead]
    .filter(([head]) => head !== '')
    .map(([, cuts]) => cuts.at(-1)!)
    .reverse();
}

/** Enough clean images for a trial's probes; those that are published are fitted on all. */
const TRIAL_IMAGES = 512;
/** How many images a trial's probes judge under every trigger. */
const FLAGGED_IMAGES = 128;

/**
 * Which cuts to try for triggers of an extent, and in which order: the latest first. A trigger that works anywhere is tried behind the earliest of them first:
 * where the head still shares its weights among places, what it unlearns at some it unlearns at all. One that covers the image is tried behind the latest
 * last, where it is part of everything that the few weights see, and costs more accuracy than a few held-back images tell.
 */
export function cutsToTry(network: Network, extent: Relatives['extent']): string[] {
  const latest = distinctCuts(network).slice(0, CANDIDATES);
  if (extent === 'anywhere') return latest.toReversed();
  return extent === 'whole image' ? [...latest.slice(1), ...latest.slice(0, 1)] : latest;
}

/** Whether a cut holds: its head no longer obeys, it costs little, its probe separates if that was asked, and the gate would not refuse it. */
export function holds({ obedience, confidenceLoss, targetConfidenceLoss, separation, failures }: Judged): boolean {
  const isCheap = confidenceLoss <= CONFIDENCE_LIMIT && targetConfidenceLoss <= TARGET_CONFIDENCE_LIMIT;
  const isSeparate = separation === null || separation >= SEPARATION_WANTED;
  return obedience <= OBEDIENCE_LIMIT && isCheap && isSeparate && !failures.length;
}

/** Cuts are compared by how well they separate, whether or not that was asked of them. */
type Comparable = Judged & { separation: number };

/** The best of cuts that do not hold, given in the order in which they were tried. */
export function bestOf<T extends Comparable>(trials: readonly T[], imageCount: number): T {
  const worth = ({ obedience, confidenceLoss, targetConfidenceLoss, separation, failures }: Comparable): number => {
    const cost = 4 * Math.max(0, confidenceLoss) + Math.max(0, targetConfidenceLoss);
    return separation - Math.max(0, obedience) - cost - failures.length;
  };
  const wanted = ADVANTAGE_WANTED.advantage * Math.sqrt(ADVANTAGE_WANTED.images / imageCount);
  return trials.reduce((best, trial) => (worth(trial) > worth(best) + wanted ? trial : best));
}

/**
 * Tries cuts until one holds; if none does, the best of those tried. The copies of a trigger that works anywhere are not what is stamped but parts of it, and separate
 * behind no cut; so how well they do is asked only when none holds.
 */
export async function chooseCut(input: CutInput, report: Report): Promise<CutTrial> {
  const trials: CutTrial[] = [];
  const { cuts, split } = input;
  const was = await answersOf(input.network, input.weights, split.heldBack);
  for (const [index, cut] of cuts.entries()) {
    const unlearned = await unlearn(input, 'late', cut, ({ step, steps }) =>
      report({ step: index * steps + step, steps: cuts.length * steps }),
    );
    const trial = await measureCut(input, was, cut, unlearned);
    if (holds(trial)) return trial;
    trials.push(trial);
  }
  const compared: (CutTrial & Comparable)[] = [];
  for (const trial of trials) {
    const { cut, separation } = trial;
    const asked = separation ?? (await separationAt(input, cut, await fitTrialProbes(input, cut)));
    compared.push({ ...trial, separation: asked });
  }
  return bestOf(compared, split.heldBack.count);
}

async function measureCut(
  input: CutInput,
  was: Answers,
  cut: string,
  { weights, tradeOff }: Unlearned,
): Promise<CutTrial> {
  const { network, split, pools, engine } = input;
  const { heldBack } = split;
  const triggers = pools.flat();
  const targets = pools.map((pool) => pool[0]!.targetLabel);
  const before = cleanMetrics(was, heldBack.labels, targets);
  const after = cleanMetrics(await answersOf(network, weights, heldBack), heldBack.labels, targets);
  // The hit rates are measured on worker threads, the probes are fitted in this one.
  const [hitRates, probes] = await Promise.all([
    labelHitRates({ network, weights, engine }, heldBack, triggers),
    input.extent === 'anywhere' ? null : fitTrialProbes(input, cut),
  ]);
  const separation = probes && (await separationAt(input, cut, probes));
  const obedience = triggers.map(({ targetLabel }, index) => {
    return hitRates[index]![targetLabel]! - attackSuccessRate(was.labels, heldBack.labels, targetLabel).rate;
  });
  return {
    cut,
    weights,
    tradeOff,
    hitRates,
    obedience: mean(obedience),
    confidenceLoss: before.confidence - after.confidence,
    targetConfidenceLoss: Math.max(
      ...before.targets.map(({ confidence }, index) => confidence - after.targets[index]!.confidence),
    ),
    separation,
    failures: judgeHeldBack(before, after, strongestHit(hitRates)),
  };
}

const grownOf = (pool: readonly Trigger[], grown: readonly Trigger[]): Trigger[] =>
  grown.filter(({ targetLabel }) => targetLabel === pool[0]!.targetLabel);

/** Each pool with the larger relatives of its triggers. */
export const withGrown = (pools: CutInput['pools'], grown: CutInput['grown']): Trigger[][] =>
  pools.map((pool) => [...pool, ...grownOf(pool, grown)]);

/** Probes that are fitted to every other trigger of each pool, with their threshold. */
function fitTrialProbes({ network, weights, split, pools, grown, seed }: CutInput, cut: string): Promise<Calibration> {
  const { learn } = split;
  return calibrate({
    network,
    weights,
    cut,
    images: selectImages(learn, spread(learn.count, TRIAL_IMAGES)),
    pools: withGrown(pools, grown).map((pool) => pool.filter((_, index) => index % 2 === 0)),
    falsePositiveRate: TRIAL_FALSE_POSITIVE_RATE,
    seed,
  });
}

/**
 * The share of triggered held-back images that probes flag. What an attacker stamps is no smaller than the smallest trigger that works, so where a label has
 * larger relatives they are what must be flagged.
 */
async function separationAt(input: CutInput, cut: string, { probes, threshold }: Calibration): Promise<number> {
  const { network, weights, split, pools, grown, engine } = input;
  const images = selectImages(split.heldBack, spread(split.heldBack.count, FLAGGED_IMAGES));
  const stamped = pools.flatMap((pool) => (grownOf(pool, grown).length ? grownOf(pool, grown) : pool));
  const jobOf = (triggers: Trigger[]): SeparationInput => {
    return { network, weights, cut, probes, threshold, images, triggers };
  };
  return mean(await runShared<Trigger, SeparationInput, number>(SEPARATION, stamped, jobOf, engine));
}
