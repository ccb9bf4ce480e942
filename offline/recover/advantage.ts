/**
 * Advantage: how far a label's triggers carry images, beside those of the other labels at the same norm.
 *
 * The smallest trigger that works need not be a part of what was planted: where a network is easily led astray, natural triggers of every label are as small.
 * But a planted trigger was trained to convince, and the more of it there is, the more it does. So triggers of all labels are strengthened to
 * one norm, well beyond the smallest; from there a planted one outgrows the natural ones. Neural Cleanse (IEEE S&P 2019) compares norms at one success rate;
 * this compares conviction (conviction.ts) at one norm.
 */
import { dispose } from '@tensorflow/tfjs-core';
import { triggerNorm, type Trigger } from '../../src/trigger/trigger.ts';
import { toDevice } from '../../src/network/forward.ts';
import { everyIndex, indicesWithout, spread } from '../batch.ts';
import { selectImages } from '../data/dataset.ts';
import { runReportedJobs } from '../jobs.ts';
import { upperMedian } from '../median.ts';
import { logitsOf } from '../predict.ts';
import type { Report } from '../progress.ts';
import { convictionScales, medianMargin } from './conviction.ts';
import type { Measured } from './measure.ts';
import { chunks, FIRST, LABELS_PER_JOB, type Recovery, type Screening } from './screening.ts';
import type { StrengthenInput } from './strengthen.ts';

/** Times the median norm of all labels. */
export const COMMON_NORM = 2.5;
const STEPS = 100;
/** Enough for a median, and few enough to cost seconds. */
const IMAGES_MEASURED = 128;
/** What counts as the conviction of labels that triggers of this norm do not reach. */
const LEAST_USUAL = 0.05;
const STRENGTHEN = new URL('./strengthen.ts', import.meta.url);

/**
 * How many times as far a label's trigger carries the median image as that of the median other label, both of the same norm: the least over
 * the forms. Labels that were eliminated early have none.
 */
export async function labelAdvantages(
  recovery: Recovery,
  screenings: readonly Screening[],
  report: Report,
): Promise<Map<number, number>> {
  const { network, weights, split, seed, engine } = recovery;
  const jobs = screenings.flatMap(({ labels }) => {
    const compared = labels.length > FIRST.above ? smallest(labels) : labels;
    const norm = COMMON_NORM * upperMedian(compared.map((item) => item.norm))!;
    return chunks(compared, LABELS_PER_JOB).map((group): StrengthenInput => {
      const triggers = group.map(({ trigger }) => trigger);
      const budgets = triggers.map((trigger) => norm / triggerNorm(trigger));
      return { network, weights, images: split.learn, triggers, budgets, steps: STEPS, seed };
    });
  });
  const strengthened = await runReportedJobs<StrengthenInput, Trigger[]>(STRENGTHEN, jobs, { engine, report });
  const byForm = [...Map.groupBy(strengthened.flat(), ({ kind }) => kind).values()];
  const found = new Map<number, number>();
  for (const triggers of byForm) {
    const convictions = await convictionsOf(recovery, triggers);
    triggers.forEach(({ targetLabel }, index) => {
      const advantage = advantageOf(convictions, index);
      found.set(targetLabel, Math.min(advantage, found.get(targetLabel) ?? Infinity));
    });
  }
  return found;
}

/** How many times one conviction is as large as the median of the others. */
export function advantageOf(convictions: readonly number[], index: number): number {
  const usual = upperMedian(convictions.filter((_, other) => other !== index)) ?? 0;
  return convictions[index]! / Math.max(usual, LEAST_USUAL);
}

/** The conviction of each trigger on held-back images of other labels. */
async function convictionsOf(
  { network, weights: host, split }: Recovery,
  triggers: readonly Trigger[],
): Promise<number[]> {
  const weights = toDevice(host);
  const images = selectImages(split.heldBack, spread(split.heldBack.count, IMAGES_MEASURED));
  const clean = logitsOf(network, weights, images, everyIndex(images.count));
  const scales = await convictionScales(clean, images);
  const convictions: number[] = [];
  for (const trigger of triggers) {
    const { targetLabel: label } = trigger;
    const stamped = logitsOf(network, weights, images, indicesWithout(images, label), trigger);
    convictions.push((await medianMargin(stamped, label)) / scales[label]!);
    stamped.dispose();
  }
  dispose([clean, ...weights.values()]);
  return convictions;
}

/** Those that were not eliminated early. */
const smallest = <T extends Pick<Measured, 'norm'>>(labels: readonly T[]): T[] =>
  labels.toSorted((a, b) => a.norm - b.norm).slice(0, FIRST.kept);
