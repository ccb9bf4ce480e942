/**
 * Advantage: how far a label stands out from the others of its network, by how small a trigger it needs and by how far triggers of one norm carry images to it.
 *
 * The smallest trigger that works need not be a part of what was planted: where a network is easily led astray, natural triggers of every label are as small.
 * But a planted trigger was trained to convince, and the more of it there is, the more it does. So triggers of all labels are strengthened to
 * one norm, well beyond the smallest; from there a planted one outgrows the natural ones. Neural Cleanse (IEEE S&P 2019) compares norms at one success rate;
 * this compares conviction (conviction.ts) at one norm as well. Both are counted in spreads of the network's own labels: in one network natural triggers differ
 * by a tenth, in another twofold. Of the five indices (the norm in three forms, the conviction in two; dense triggers are not strengthened, smooth ones left out) the mean is taken, for
 * chance seldom favours a label in all.
 */
import { dispose } from '@tensorflow/tfjs-core';
import { anomalyIndex } from '../../src/trigger/anomaly.ts';
import { triggerNorm, type Trigger } from '../../src/trigger/trigger.ts';
import { toDevice } from '../../src/network/forward.ts';
import { everyIndex, indicesWithout, spread } from '../batch.ts';
import { selectImages } from '../data/dataset.ts';
import { chunks, runReportedJobs } from '../jobs.ts';
import { mean } from '../mean.ts';
import { upperMedian } from '../median.ts';
import { logitsOf } from '../predict.ts';
import type { Report } from '../progress.ts';
import { convictionScales, medianMargin } from './conviction.ts';
import { isCovering, isOnGrid } from './measure.ts';
import { followedToTheEnd, LABELS_PER_JOB, type Recovery, type Screening } from './screening.ts';
import type { StrengthenInput } from './strengthen.ts';

/** Times the median norm of all labels. */
export const COMMON_NORM = 2.5;
const STEPS = 100;
/** Enough for a median, and few enough to cost seconds. */
const IMAGES_MEASURED = 128;
/** What counts as the conviction of labels that triggers of this norm do not reach. */
const LEAST = 0.05;
const STRENGTHEN = new URL('./strengthen.ts', import.meta.url);

/**
 * How many spreads each label stands out, the mean over norms and convictions. Labels that were eliminated early have no advantage.
 */
export async function labelAdvantages(
  recovery: Recovery,
  screenings: readonly Screening[],
  report: Report,
): Promise<Map<number, number>> {
  const { network, weights, split, seed, engine } = recovery;
  const small = screenings.filter(({ form }) => !isCovering(form));
  const compared = small.map(({ labels }) => followedToTheEnd(labels, ({ norm }) => norm));
  const jobs = compared.flatMap((labels) => {
    const norm = COMMON_NORM * upperMedian(labels.map((item) => item.norm))!;
    return chunks(labels, LABELS_PER_JOB).map((group): StrengthenInput => {
      const triggers = group.map(({ trigger }) => trigger);
      const budgets = triggers.map((trigger) => norm / triggerNorm(trigger));
      return { network, weights, images: split.learn, triggers, budgets, steps: STEPS, seed };
    });
  });
  const strengthened = (await runReportedJobs<StrengthenInput, Trigger[]>(STRENGTHEN, jobs, { engine, report })).flat();
  const indices = new Map<number, number[]>();
  for (const labels of compared) {
    const convictions = await convictionsOf(recovery, strengthened.splice(0, labels.length));
    labels.forEach(({ trigger: { targetLabel: label } }, position) => {
      indices.set(label, [...(indices.get(label) ?? []), convictionIndex(convictions, position)]);
    });
  }
  // What smooth triggers and warps say of patches and of noise is nothing, and of attacks of their own kind enough by itself (faint.ts).
  const telling = screenings.filter(({ form }) => !isOnGrid(form));
  return new Map(
    [...indices].map(([label, convincing]) => {
      return [label, mean([...convincing, ...telling.map(({ labels }) => labels[label]!.anomalyIndex)])];
    }),
  );
}

/** How many spreads one conviction lies above the median of the others, on a logarithmic scale as norms are. */
export function convictionIndex(convictions: readonly number[], position: number): number {
  const [own, ...others] = [position, ...convictions.keys()].map((at) => 1 / Math.max(convictions[at]!, LEAST));
  return anomalyIndex(own!, others.toSpliced(position, 1));
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
