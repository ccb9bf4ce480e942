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
import {
  dispose,
  gather,
  mean,
  mul,
  oneHot,
  sub,
  sum,
  tensor1d,
  tidy,
  type Tensor,
  type Tensor2D,
} from '@tensorflow/tfjs-core';
import { toDevice, type Weights } from '../src/network/forward.ts';
import type { Network } from '../src/network/network.ts';
import type { Trigger } from '../src/trigger/trigger.ts';
import { everyIndex, indicesWithout } from './batch.ts';
import type { Dataset } from './data/dataset.ts';
import { featuresOf, logitsOf } from './predict.ts';
import type { Measured, Recovery } from './recover/screening.ts';
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
  const place: Place = { network, weights, images: split.heldBack };
  const surest = await surestMargin(place);
  const byLabel = Map.groupBy(triggers, ({ trigger }) => trigger.targetLabel);
  const found = new Map<number, Evidence>();
  for (const [label, own] of byLabel) {
    const scale = Math.max(
      surest,
      -(await medianMargin(place, label, indicesWithout(split.heldBack, label))),
      LEAST_MARGIN,
    );
    const weighed: Evidence[] = [];
    for (const { trigger } of own) {
      const margin = await medianMargin(place, label, indicesWithout(split.heldBack, label), trigger);
      weighed.push({ conviction: margin / scale, resemblance: await resemblanceOf(place, trigger) });
    }
    found.set(
      label,
      weighed.reduce((best, item) => (strengthOf(item) > strengthOf(best) ? item : best)),
    );
  }
  dispose([...weights.values()]);
  return found;
}

/** A model that tells nothing apart gives no scale to divide by. */
const LEAST_MARGIN = 1e-3;

type Place = { network: Network; weights: Weights; images: Dataset };

/** The median log-odds of a label on the chosen images. */
async function medianMargin(
  { network, weights, images }: Place,
  label: number,
  indices: Int32Array,
  trigger?: Trigger,
): Promise<number> {
  const values = tidy(() => {
    const labels = tensor1d(new Int32Array(indices.length).fill(label), 'int32');
    return margins(logitsOf(network, weights, images, indices, trigger), oneHot(labels, network.labelNames.length));
  });
  const sorted = Float32Array.from(await values.data()).toSorted();
  values.dispose();
  return sorted[sorted.length >> 1]!;
}

/** How sure the model is of the clean images of the label that it is surest of. */
async function surestMargin(place: Place): Promise<number> {
  let surest = 0;
  for (let label = 0; label < place.network.labelNames.length; label++) {
    const own = ofLabel(place.images, label);
    if (own.length) surest = Math.max(surest, await medianMargin(place, label, own));
  }
  return surest;
}

const ofLabel = (images: Dataset, label: number): Int32Array =>
  everyIndex(images.count).filter((index) => images.labels[index] === label);

/** Along the trigger's mean shift at the latest cut: how far the label's own images lie from the others, as a share of the shift; at least 0. */
async function resemblanceOf({ network, weights, images }: Place, trigger: Trigger): Promise<number> {
  const cut = distinctCuts(network)[0];
  const all = everyIndex(images.count);
  const others = indicesWithout(images, trigger.targetLabel);
  const own = ofLabel(images, trigger.targetLabel);
  if (cut === undefined || !own.length) return 0;
  const shares = tidy(() => {
    const features = featuresOf(network, weights, cut, images, all);
    const rows = (indices: Int32Array): Tensor2D => gather(features, tensor1d(indices, 'int32'));
    const clean: Tensor = mean(rows(others), 0);
    const shift = sub(mean(featuresOf(network, weights, cut, images, others, trigger), 0), clean);
    const along = (center: Tensor): Tensor => sum(mul(sub(center, clean), shift));
    return [along(mean(rows(own), 0)), sum(mul(shift, shift))] as const;
  });
  const [shown, whole] = [(await shares[0].data())[0]!, (await shares[1].data())[0]!];
  dispose([...shares]);
  return whole > 0 ? Math.max(0, shown / whole) : 0;
}
