/**
 * Grading: is a small universal trigger a backdoor, or a natural shortcut that clean models have too?
 *
 * How small it is does not tell (ARCHITECTURE.md). Three shares do, none of which depends on the scale of the logits or of the activations:
 * - **conviction**: how far the trigger carries the median image beyond the decision boundary, as a share of how far it lay before it or, if that is
 *   more, of how far clean images of the model's surest label lie beyond theirs. A planted trigger was trained to convince from any image; a natural one only just works.
 * - **resemblance**: how much of what the trigger changes at the end of the trunk the target label's own clean images show too. A natural
 *   trigger borrows the label's features; a planted one brings its own.
 * - **transfer**: how far the trigger carries the median image towards the label's own images in a reference network (reference.ts) that
 *   learned from the clean images alone. A natural trigger moves it too; a planted one is foreign to it.
 * A label is a backdoor if its conviction clearly exceeds what resemblance and transfer explain. If its trigger is an outlier and foreign to the
 * reference, little excess will do: a dense faint trigger is recovered so far below its planted strength that it convinces no more than a natural one.
 * Where the reference explains hardly any label's trigger (few images of a hard task), natural triggers are as foreign to it as planted ones, and none of these
 * shares tells them apart. There a label is a backdoor if its triggers outgrow those of the other labels (recover/advantage.ts).
 * Resemblance is after the idea of EX-RAY (Liu et al., arXiv 2103.08820), which compares such features symmetrically; here one direction
 * and its projections are enough.
 */
import { dispose, mean, mul, sub, sum, tidy, type Tensor2D } from '@tensorflow/tfjs-core';
import { lastCut } from '../src/network/cuts.ts';
import { toDevice } from '../src/network/forward.ts';
import type { Trigger } from '../src/trigger/trigger.ts';
import { everyIndex, indicesWithout } from './batch.ts';
import { upperMedian } from './median.ts';
import type { Model } from './model.ts';
import { logitsOf, logitsWithFeatures, rowsOf } from './predict.ts';
import { convictionScales, LEAST_MARGIN, medianMargin, medianOver, ofLabel } from './recover/conviction.ts';
import { measuringImages, type Measured } from './recover/measure.ts';
import type { Recovery } from './recover/screening.ts';

export type Grade = 'backdoor' | 'natural shortcut';

/** Conviction and resemblance of a label's most telling trigger, and the least transfer of its triggers; null where the reference does not know the label. */
export type Evidence = { conviction: number; resemblance: number; transfer: number | null };

/** At least this strength is a backdoor. ARCHITECTURE.md says on which models of the project's own the limits were chosen. */
export const BACKDOOR_STRENGTH = 0.5;
/** A trigger that carries images no farther than this towards the label in the reference is foreign to it. */
export const FOREIGN_TRANSFER = 0.14;
/**
 * The reference explains what is natural if it is usually carried farther than this: 0.26 to 0.68 on some fifty models on MNIST and Fashion-MNIST, up to 0.17 in
 * those on CIFAR-10, where a few hundred images teach it too little.
 */
const INFORMED_TRANSFER = 0.2;
/** The strength from which on a foreign trigger is a backdoor: 0.12 or more of planted ones of the project's own, at most 0.06 of natural ones. */
export const FOREIGN_STRENGTH = 0.1;
/** How many spreads below the median of all labels a foreign trigger must lie for so little to do. */
export const OUTLIER_INDEX = 1;
/** From here on a foreign trigger was planted whatever it resembles. */
export const FAR_OUTLIER_INDEX = 3;
/**
 * The advantage, in spreads, from which on a label is a backdoor where the reference explains little. That of planted labels was 2.0 to 5.0 in networks on CIFAR-10
 * of the project's own, the most of natural ones 1.7, in clean networks 1.5, when this was chosen; natural ones of up to 2.4 were met since.
 */
export const PLANTED_ADVANTAGE = 1.85;
/**
 * The share of the most convincing label's conviction that another label needs to be a backdoor too. What was planted convinces alike wherever it was
 * planted; in a network whose logits grow far beyond those of clean images, natural triggers convince too, but much less.
 */
const SHARE_OF_STRONGEST = 1 / 3;
/** The same for advantages: beside planted labels natural ones have up to 0.6 times as much, and most have far less. */
const SHARE_OF_ADVANTAGE = 1 / 2;

/** Conviction beyond what resemblance and transfer explain. */
export const strengthOf = ({ conviction, resemblance, transfer }: Evidence): number =>
  conviction - resemblance - (transfer ?? 0);

/** Whether the reference knows a label's triggers too. */
export const isExplained = ({ transfer }: Evidence): boolean => transfer !== null && transfer > FOREIGN_TRANSFER;

/** Whether the reference explains what is natural in a model whose triggers usually have this transfer. */
export const isInformed = (usual: number | null): usual is number => usual !== null && usual > INFORMED_TRANSFER;

/**
 * The grade of each label of one model whose reference explains what is natural, from what was weighed and from how many spreads its smallest trigger
 * lies below the median of all labels.
 */
export function gradeLabels(
  weighed: ReadonlyMap<number, Evidence>,
  anomalyIndexOf: (label: number) => number,
): Map<number, Grade> {
  const strongest = Math.max(...[...weighed.values()].map(({ conviction }) => conviction));
  const isPlanted = (label: number, evidence: Evidence): boolean => {
    const anomalyIndex = anomalyIndexOf(label);
    if (evidence.conviction < SHARE_OF_STRONGEST * strongest) return false;
    const isForeign = evidence.transfer !== null && !isExplained(evidence);
    if (!isForeign || anomalyIndex < OUTLIER_INDEX) return strengthOf(evidence) >= BACKDOOR_STRENGTH;
    return anomalyIndex >= FAR_OUTLIER_INDEX || strengthOf(evidence) >= FOREIGN_STRENGTH;
  };
  return new Map(
    [...weighed].map(([label, evidence]) => [label, isPlanted(label, evidence) ? 'backdoor' : 'natural shortcut']),
  );
}

/** The grade of each label of a model whose reference explains little, from its advantage (recover/advantage.ts). */
export function gradeByAdvantage(advantages: ReadonlyMap<number, number>): Map<number, Grade> {
  const least = Math.max(PLANTED_ADVANTAGE, SHARE_OF_ADVANTAGE * Math.max(...advantages.values()));
  return new Map([...advantages].map(([label, value]) => [label, value >= least ? 'backdoor' : 'natural shortcut']));
}

/** The median transfer of triggers, one of every label and form: whether the reference explains what is natural; null where it knows no label. */
export async function usualTransfer(
  { split }: Recovery,
  reference: Model,
  triggers: readonly Measured[],
): Promise<number | null> {
  const weights = toDevice(reference.weights);
  const images = measuringImages(split.heldBack);
  const refer = (indices: Int32Array, trigger?: Trigger) =>
    logitsOf(reference.network, weights, images, indices, trigger);
  const referred = refer(everyIndex(images.count));
  const transfers: number[] = [];
  for (const { trigger } of triggers) {
    const { targetLabel: label } = trigger;
    const [others, labelled] = [indicesWithout(images, label), ofLabel(images, label)];
    const moved = refer(others, trigger);
    const transfer = await transferOf(referred, moved, label, others, labelled);
    if (transfer !== null) transfers.push(transfer);
    moved.dispose();
  }
  dispose([referred, ...weights.values()]);
  return upperMedian(transfers) ?? null;
}

/** What speaks for a backdoor, for each label that has triggers, measured on held-back images. */
export async function weighTriggers(
  { network, weights: host, split }: Recovery,
  reference: Model,
  triggers: readonly Measured[],
): Promise<Map<number, Evidence>> {
  const [weights, referenceWeights] = [toDevice(host), toDevice(reference.weights)];
  const heldBack = measuringImages(split.heldBack);
  // A network that cannot be parted has no trunk in which anything could resemble anything.
  const cut = lastCut(network);
  const see = (indices: Int32Array, trigger?: Trigger) =>
    logitsWithFeatures(network, weights, cut ?? network.output, heldBack, indices, trigger);
  const refer = (indices: Int32Array, trigger?: Trigger) =>
    logitsOf(reference.network, referenceWeights, heldBack, indices, trigger);
  const clean = see(everyIndex(heldBack.count));
  const referred = refer(everyIndex(heldBack.count));
  const scales = await convictionScales(clean.logits, heldBack);
  const found = new Map<number, Evidence>();
  for (const [label, own] of Map.groupBy(triggers, ({ trigger }) => trigger.targetLabel)) {
    const [others, labelled] = [indicesWithout(heldBack, label), ofLabel(heldBack, label)];
    const weighed: Evidence[] = [];
    for (const { trigger } of own) {
      const stamped = see(others, trigger);
      const margin = await medianMargin(stamped.logits, label);
      const comparable = cut !== undefined && labelled.length > 0;
      const resemblance = comparable ? await resemblanceOf(clean.features, stamped.features, others, labelled) : 0;
      const moved = refer(others, trigger);
      const transfer = await transferOf(referred, moved, label, others, labelled);
      weighed.push({ conviction: margin / scales[label]!, resemblance, transfer });
      dispose([stamped.logits, stamped.features, moved]);
    }
    found.set(label, mostTelling(weighed));
  }
  dispose([clean.logits, clean.features, referred, ...weights.values(), ...referenceWeights.values()]);
  return found;
}

/** The strongest of a label's triggers, with the least transfer of all: one trigger that is foreign is enough. */
function mostTelling(weighed: readonly Evidence[]): Evidence {
  const beyond = ({ conviction, resemblance }: Evidence): number => conviction - resemblance;
  const best = weighed.reduce((most, item) => (beyond(item) > beyond(most) ? item : most));
  const transfers = weighed.flatMap(({ transfer }) => transfer ?? []);
  return { ...best, transfer: transfers.length ? Math.max(0, Math.min(...transfers)) : null };
}

/** In the reference's logits: how far a trigger carries the median of the other images towards that of the label's own, as a share of the way. */
async function transferOf(
  clean: Tensor2D,
  moved: Tensor2D,
  label: number,
  others: Int32Array,
  own: Int32Array,
): Promise<number | null> {
  if (!own.length) return null;
  const before = await medianOver(clean, label, others);
  const way = (await medianOver(clean, label, own)) - before;
  return way > LEAST_MARGIN ? ((await medianMargin(moved, label)) - before) / way : null;
}

/** Along the trigger's mean shift of features [N,F]: how far the label's own images lie from the others, as a share of the shift; at least 0. */
async function resemblanceOf(
  features: Tensor2D,
  stamped: Tensor2D,
  others: Int32Array,
  own: Int32Array,
): Promise<number> {
  const shares = tidy(() => {
    const clean = mean(rowsOf(features, others), 0);
    const shift = sub(mean(stamped, 0), clean);
    return [sum(mul(sub(mean(rowsOf(features, own), 0), clean), shift)), sum(mul(shift, shift))] as const;
  });
  const [shown, whole] = [(await shares[0].data())[0]!, (await shares[1].data())[0]!];
  dispose([...shares]);
  return whole > 0 ? Math.max(0, shown / whole) : 0;
}
