/** Screening as a whole: every label in every form on worker threads, measured on held-back images. */
import type { Network } from '../../src/network/network.ts';
import type { HostWeights } from '../../src/network/safetensors.ts';
import { anomalyIndices } from '../../src/trigger/anomaly.ts';
import type { Trigger } from '../../src/trigger/trigger.ts';
import { selectImages, type Dataset } from '../data/dataset.ts';
import type { Engine } from '../engine/engine.ts';
import { randomSource } from '../engine/random.ts';
import { chunks, runReportedJobs } from '../jobs.ts';
import { upperMedian } from '../median.ts';
import type { Report } from '../progress.ts';
import { isFaintIn, type FaintLabel } from './faint.ts';
import { isCovering, measureTriggers, type Measured, type ScreenedForm } from './measure.ts';
import type { ScreenInput } from './screen.ts';

const HELD_BACK_SHARE = 0.3;
const SCREEN_STEPS = { blend: 120, additive: 120, dense: 80, smooth: 80, warp: 60 };
const SEARCH_STEPS = { blend: 150, additive: 150, dense: 80, smooth: 80, warp: 60 };
/** With more labels than `above`, the `kept` ones with the smallest triggers after a short round are followed on in each form. */
type Elimination = { above: number; kept: number };
export const FIRST: Elimination = { above: 20, kept: 10 };
/** When a purified model is screened again, only the unlearned labels and the smallest triggers of all matter, not what is usual. */
const AGAIN: Elimination = { above: 6, kept: 3 };
const SHORT_STEPS = { blend: 40, additive: 40, dense: 40, smooth: 40, warp: 40 };
/** A trigger that works less often after a short round counts as larger than all that do. */
const SHORT_HIT_RATE = 0.5;
/** A fixed size, so that a seed gives the same triggers whatever the number of threads. */
export const LABELS_PER_JOB = 5;
const FORMS: readonly ScreenedForm[] = ['blend', 'additive', 'dense', 'smooth', 'warp'];
/** Starting points a label: a small patch is one of several local optima of the mask, the others have few. */
const SCREEN_STARTS = { blend: 2, additive: 1, dense: 1, smooth: 1, warp: 1 };
const SEARCH_STARTS = { blend: 4, additive: 1, dense: 4, smooth: 4, warp: 4 };
/**
 * How many spreads below the median a label's norm must lie to be remarkable. A scan looks into the smallest of each form all the
 * same, but it is a finding only if it convinces like a backdoor.
 */
export const REMARKABLE_INDEX = 1.5;
const SCREEN = new URL('./screen.ts', import.meta.url);

/** Clean images in two disjoint parts: `learn` for whatever is fitted, `heldBack` for whatever is measured. */
export type Split = { learn: Dataset; heldBack: Dataset };

/** Parts the clean images at random, the same share of every label. */
export function splitClean(images: Dataset, seed: number): Split {
  const order = randomSource(seed, 'split').shuffled(images.count);
  const byLabel = Map.groupBy(order, (index) => images.labels[index]!);
  const parts = [...byLabel.values()].map((indices) => {
    const held = Math.round(HELD_BACK_SHARE * indices.length);
    return { held: indices.slice(0, held), kept: indices.slice(held) };
  });
  return {
    learn: selectImages(
      images,
      parts.flatMap(({ kept }) => kept),
    ),
    heldBack: selectImages(
      images,
      parts.flatMap(({ held }) => held),
    ),
  };
}

/** The smallest trigger of every label in one form, in the order of the labels. */
export type Screening = { form: ScreenedForm; labels: (Measured & { anomalyIndex: number })[] };

export type Recovery = { network: Network; weights: HostWeights; split: Split; seed: number; engine: Engine };

/**
 * Screens every label in every form; with `suspects`, again, and only these labels from several starting points. Of many labels most are
 * eliminated early: a short round follows all of them, a full one only those with the smallest triggers and the suspects.
 */
export async function screenAll(
  recovery: Recovery,
  report: Report,
  suspects?: readonly number[],
): Promise<Screening[]> {
  const labels = recovery.network.labelNames.map((_, label) => label);
  const elimination = suspects ? AGAIN : FIRST;
  if (labels.length <= elimination.above) {
    const measured = await screenFully(recovery, () => labels, report, suspects);
    return FORMS.map((form) => rank(form, smallestOf(measured, form, labels)));
  }
  const groups = chunks(labels, LABELS_PER_JOB);
  const short = await screenLabels(recovery, SHORT_STEPS, () => groups, report);
  const shortOf = (form: ScreenedForm): Measured[] => smallestOf(short, form, labels);
  const kept = (form: ScreenedForm): number[] => keptLabels(shortOf(form), elimination.kept, suspects);
  const full = await screenFully(recovery, kept, report, suspects);
  return FORMS.map((form) => rankTogether(form, shortOf(form), smallestOf(full, form, kept(form))));
}

/** The labels that a short round leaves in the race: the `kept` ones with the smallest triggers that work at least now and then, and those that are asked for. */
export function keptLabels(short: readonly Measured[], kept: number, suspects: readonly number[] = []): number[] {
  const order = short.toSorted(
    (a, b) => Number(b.hitRate >= SHORT_HIT_RATE) - Number(a.hitRate >= SHORT_HIT_RATE) || a.norm - b.norm,
  );
  const smallest = order.slice(0, kept).map(({ trigger }) => trigger.targetLabel);
  return [...new Set([...smallest, ...suspects])].toSorted((a, b) => a - b);
}

/** Of items, one a label, those whose labels were followed to the end of a first screening; the norms of the others are still on their way down. */
export const followedToTheEnd = <T>(labels: readonly T[], normOf: (item: T) => number): readonly T[] =>
  labels.length > FIRST.above ? labels.toSorted((a, b) => normOf(a) - normOf(b)).slice(0, FIRST.kept) : labels;

/**
 * Puts labels that were followed to the end beside those that were not. The norms of the latter are still on their way down, so for the anomaly
 * indices they count as if they had shrunk as much as the median of the former.
 */
export function rankTogether(form: ScreenedForm, short: readonly Measured[], full: readonly Measured[]): Screening {
  const finished = new Map(full.map((item) => [item.trigger.targetLabel, item]));
  const shrunk = short.flatMap(({ norm, trigger }) => {
    const end = finished.get(trigger.targetLabel);
    return end ? [end.norm / norm] : [];
  });
  const factor = upperMedian(shrunk)!;
  const items = short.map((item) => finished.get(item.trigger.targetLabel) ?? item);
  const norms = items.map((item) => (finished.has(item.trigger.targetLabel) ? item.norm : factor * item.norm));
  return rank(form, items, norms);
}

function rank(form: ScreenedForm, items: readonly Measured[], norms = items.map(({ norm }) => norm)): Screening {
  const indices = anomalyIndices(norms);
  return { form, labels: items.map((item, label) => ({ ...item, anomalyIndex: indices[label]! })) };
}

const smallestOf = (measured: readonly Measured[], form: ScreenedForm, labels: readonly number[]): Measured[] =>
  labels.map((label) => {
    const own = measured.filter((item) => item.form === form && item.trigger.targetLabel === label);
    return own.reduce((best, item) => (item.norm < best.norm ? item : best));
  });

/** All steps for some labels of each form. */
function screenFully(
  recovery: Recovery,
  labelsOf: (form: ScreenedForm) => readonly number[],
  report: Report,
  suspects: readonly number[] | undefined,
): Promise<Measured[]> {
  const startedAgain = (label: number): boolean => !suspects || suspects.includes(label);
  const columns = (group: readonly number[], form: ScreenedForm): number[] =>
    Array.from({ length: SCREEN_STARTS[form] }, (_, start) => (start ? group.filter(startedAgain) : group)).flat();
  return screenLabels(
    recovery,
    SCREEN_STEPS,
    (form) => chunks(labelsOf(form), LABELS_PER_JOB).map((group) => columns(group, form)),
    report,
  );
}

/** Recovers triggers for a few labels from several starting points each, those that cover the image only for the labels that are faint in that form. */
export function searchLabels(
  recovery: Recovery,
  labels: readonly number[],
  faint: readonly FaintLabel[],
  report: Report,
): Promise<Measured[]> {
  return screenLabels(
    recovery,
    SEARCH_STEPS,
    (form) =>
      labels
        .filter((label) => !isCovering(form) || isFaintIn(faint, form, label))
        .map((label) => Array.from({ length: SEARCH_STARTS[form] }, () => label)),
    report,
  );
}

async function screenLabels(
  recovery: Recovery,
  stepsOf: Record<ScreenedForm, number>,
  groupsOf: (form: ScreenedForm) => number[][],
  report: Report,
): Promise<Measured[]> {
  const { network, weights, split, seed, engine } = recovery;
  const jobs = FORMS.flatMap((form) =>
    groupsOf(form).map((targetLabels): ScreenInput => {
      return { network, weights, images: split.learn, form, targetLabels, steps: stepsOf[form], seed };
    }),
  );
  const triggers = await runReportedJobs<ScreenInput, Trigger[]>(SCREEN, jobs, { engine, report });
  const candidates = jobs.flatMap(({ form }, index) => triggers[index]!.map((trigger) => ({ form, trigger })));
  return measureTriggers(recovery, split.heldBack, candidates);
}
