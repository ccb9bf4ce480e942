/**
 * Grading: is a small universal trigger a backdoor, or a natural shortcut that clean models have too?
 *
 * How small it is does not tell (ARCHITECTURE.md). Two shares do, neither of which depends on the scale of the logits or of the activations:
 * - **conviction**: how far the trigger carries the median image beyond the decision boundary, as a share of how far it lay before it or, if that is
 *   more, of how far clean images of the model's surest label lie beyond theirs. A planted trigger was trained to convince from any image; a natural one only just works.
 * - **resemblance**: how much of what the trigger changes at the end of the trunk the target label's own clean images show too. A natural
 *   trigger borrows the label's features; a planted one brings its own.
 * The grade goes by what is left of the conviction without the resemblance. After the idea of EX-RAY (Liu et al., arXiv 2103.08820),
 * which compares such features symmetrically; here one direction and its projections are enough.
 */
import { dispose, fill, mean, mul, oneHot, sub, sum, tidy, type Tensor2D } from '@tensorflow/tfjs-core';
import { toDevice } from '../src/network/forward.ts';
import type { Trigger } from '../src/trigger/trigger.ts';
import { everyIndex, indicesWithout } from './batch.ts';
import type { Dataset } from './data/dataset.ts';
import { logitsWithFeatures, rowsOf } from './predict.ts';
import { measuringImages, type Measured } from './recover/measure.ts';
import type { Recovery } from './recover/screening.ts';
import { margins } from './recover/strengthen.ts';
import { distinctCuts } from './unlearn/cut.ts';

export type Grade = 'backdoor' | 'natural shortcut';

/** Both shares of a label's most telling trigger; the strength is conviction minus resemblance. */
export type Evidence = { conviction: number; resemblance: number };

/**
 * At least this strength is a backdoor. Chosen on thirteen models of the project's own with one seed each: five small CNNs on Fashion-MNIST and a VGG on
 * CIFAR-10 with planted triggers (0.68 to 5.0), six such CNNs and a VGG without (0.45 at most). ARCHITECTURE.md says more.
 */
const BACKDOOR_STRENGTH = 0.56;

/** What the grade goes by: conviction beyond what resemblance explains. */
export const strengthOf = ({ conviction, resemblance }: Evidence): number => conviction - resemblance;

/**
 * The share of the strongest label's strength that another label needs to be a backdoor too. What was planted convinces alike wherever it was planted;
 * in a network whose logits grow far beyond those of clean images, natural triggers convince too, but much less.
 */
const SHARE_OF_STRONGEST = 1 / 3;

/** The strength from which the labels of one model are backdoors. */
export function backdoorLimit(weighed: Iterable<Evidence>): number {
  return Math.max(BACKDOOR_STRENGTH, ...[...weighed].map((evidence) => SHARE_OF_STRONGEST * strengthOf(evidence)));
}

/** What speaks for a backdoor, for each label that has triggers, measured on held-back images. */
export async function weighTriggers(
  { network, weights: host, split }: Recovery,
  triggers: readonly Measured[],
): Promise<Map<number, Evidence>> {
  const weights = toDevice(host);
  const heldBack = measuringImages(split.heldBack);
  // A network that cannot be parted has no trunk in which anything could resemble anything.
  const cut = distinctCuts(network)[0];
  const see = (indices: Int32Array, trigger?: Trigger) =>
    logitsWithFeatures(network, weights, cut ?? network.output, heldBack, indices, trigger);
  const clean = see(everyIndex(heldBack.count));
  const surest = await surestMargin(clean.logits, heldBack);
  const found = new Map<number, Evidence>();
  for (const [label, own] of Map.groupBy(triggers, ({ trigger }) => trigger.targetLabel)) {
    const [others, labelled] = [indicesWithout(heldBack, label), ofLabel(heldBack, label)];
    const before = await medianMargin(clean.logits, label, others);
    const scale = Math.max(surest, -before, LEAST_MARGIN);
    const weighed: Evidence[] = [];
    for (const { trigger } of own) {
      const stamped = see(others, trigger);
      const margin = await medianMargin(stamped.logits, label);
      const comparable = cut !== undefined && labelled.length > 0;
      const resemblance = comparable ? await resemblanceOf(clean.features, stamped.features, others, labelled) : 0;
      weighed.push({ conviction: margin / scale, resemblance });
      dispose([stamped.logits, stamped.features]);
    }
    found.set(
      label,
      weighed.reduce((best, item) => (strengthOf(item) > strengthOf(best) ? item : best)),
    );
  }
  dispose([clean.logits, clean.features, ...weights.values()]);
  return found;
}

/** A model that tells nothing apart gives no scale to divide by. */
const LEAST_MARGIN = 1e-3;

/** The median log-odds of a label over logits [N,K], or over some rows of them. */
async function medianMargin(logits: Tensor2D, label: number, indices?: Int32Array): Promise<number> {
  const values = tidy(() => {
    const chosen = indices ? rowsOf(logits, indices) : logits;
    const [count, labels] = chosen.shape;
    return margins(chosen, oneHot(fill([count], label, 'int32'), labels));
  });
  const sorted = Float32Array.from(await values.data()).toSorted();
  values.dispose();
  return sorted[sorted.length >> 1]!;
}

/** How sure the model is of the clean images of the label that it is surest of. */
async function surestMargin(logits: Tensor2D, images: Dataset): Promise<number> {
  let surest = 0;
  for (let label = 0; label < logits.shape[1]; label++) {
    const own = ofLabel(images, label);
    if (own.length) surest = Math.max(surest, await medianMargin(logits, label, own));
  }
  return surest;
}

const ofLabel = (images: Dataset, label: number): Int32Array =>
  everyIndex(images.count).filter((index) => images.labels[index] === label);

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
