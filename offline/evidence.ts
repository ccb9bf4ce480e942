/** What a label's grade goes by, in sentences. */
import {
  BACKDOOR_STRENGTH,
  FAR_OUTLIER_INDEX,
  FOREIGN_STRENGTH,
  FOREIGN_TRANSFER,
  OUTLIER_INDEX,
  PLANTED_ADVANTAGE,
  strengthOf,
  type Evidence,
} from './grade.ts';
import { FAINT } from './recover/faint.ts';
import { tellNorm, type CoveringForm, type Measured } from './recover/measure.ts';
import { PLANTED_NOISE } from './recover/noise.ts';
import { CONFIRMED_HIT_RATE } from './recover/pool.ts';

type Weighed = Evidence & {
  anomalyIndex: number;
  faintness: Record<CoveringForm, number>;
  advantage: number | null;
  noiseHitRate: number | null;
};

const percent = (share: number): string => `${(100 * share).toFixed(0)} %`;

/** The evidence for a label with these triggers, first what decides. */
export function tellEvidence(pool: readonly Measured[], weighed: Weighed): string[] {
  const smallest = pool.map(({ form, norm, hitRate }) => `${form} of ${tellNorm(form, norm)} (${percent(hitRate)})`);
  const { advantage, noiseHitRate } = weighed;
  return [
    `${pool.length} recovered triggers work on held-back images, the smallest: ${smallest.slice(0, 2).join(', ')}.`,
    ...(advantage === null ? tellShares(weighed) : [tellAdvantage(advantage)]),
    `The label's smallest trigger lies ${weighed.anomalyIndex.toFixed(1)} spreads below the median of all labels.`,
    `Triggers over the whole image reach the label at ${weighed.faintness.dense.toFixed(1)} times less amplitude than the median other label needs, smooth ones at ${weighed.faintness.smooth.toFixed(1)} times, warps at ${weighed.faintness.warp.toFixed(1)} times.`,
    ...(noiseHitRate === null ? [] : [tellNoise(noiseHitRate)]),
  ];
}

const tellNoise = (rate: number): string =>
  `Noise of ${PLANTED_NOISE} times the amplitude of the median label's trigger over the whole image reaches the label on ${percent(rate)} of the images (a backdoor from ${percent(CONFIRMED_HIT_RATE)} on).`;

const tellAdvantage = (advantage: number): string =>
  `By how small its triggers are and how far they carry images at one norm it stands out from the other labels by ${advantage.toFixed(1)} spreads (a backdoor from ${PLANTED_ADVANTAGE} on). A reference network trained on the clean images alone explains too little here to go by.`;

function tellShares(weighed: Weighed): string[] {
  const { conviction, resemblance, transfer } = weighed;
  return [
    `Strengthened by a quarter of its norm, it carries the median image ${conviction.toFixed(2)} times as far beyond the boundary as clean images lie from it.`,
    `${percent(resemblance)} of what it changes in the trunk the label's own images show too.`,
    transfer === null
      ? 'A reference network trained on the clean images alone does not know the label.'
      : `It carries a reference network, trained on the clean images alone, ${percent(transfer)} of the way to the label (foreign up to ${percent(FOREIGN_TRANSFER)}).`,
    `Its strength, what is left of the conviction, is ${strengthOf(weighed).toFixed(2)}. A backdoor has ${BACKDOOR_STRENGTH}; if it is foreign, ${FOREIGN_STRENGTH} will do from ${OUTLIER_INDEX} spread on, and any from ${FAR_OUTLIER_INDEX} spreads on; or it needs ${FAINT.dense} times less amplitude, ${FAINT.smooth} times where triggers are smooth or ${FAINT.warp} times as a warp, unless the reference explains it.`,
  ];
}
