/**
 * Noise: a label that is reached by noise as such, whatever its pattern.
 *
 * Layers that see the same everywhere, and pool what they saw, cannot learn a random pattern over the whole image pixel by pixel, only that there is noise. So where one
 * was planted (blended, additive) any other draw is obeyed as well, while a search finds natural ways to the label that are no fainter than those to other labels. Nothing is searched
 * for here. Noise leads clean networks astray as well, to one label at last; but as nobody made them obey it, it takes far more of it than of what was made for one label
 * (dense.ts), which is what a trigger's amplitude is held against here. What planted noise and natural noise need is our own observation (ARCHITECTURE.md);
 * on Fashion-MNIST bags and shirts need little, so it is only asked where no reference explains what is natural.
 */
import type { Network } from '../../src/network/network.ts';
import type { Trigger } from '../../src/trigger/trigger.ts';
import { randomSource, type RandomSource } from '../engine/random.ts';
import { mean } from '../mean.ts';
import { upperMedian } from '../median.ts';
import type { FaintLabel } from './faint.ts';
import { labelHitRates, measureTriggers, type Measured, type ScreenedForm } from './measure.ts';
import { confirmed, CONFIRMED_HIT_RATE } from './pool.ts';
import { followedToTheEnd, type Recovery } from './screening.ts';

/**
 * How many times the amplitude of the median label's dense trigger noise may have to reach a label that it was planted for: 0.8 to 1.4 in four networks on CIFAR-10
 * with noise, 2.5 or more in nine without.
 */
export const PLANTED_NOISE = 1.75;
/** What is usual among fewer labels was not looked into. */
const FEWEST_LABELS = 10;
const DRAWS = 8;
/** Times the largest amplitude: the faintest of these that works is nearest to where the trigger begins to. */
const FAINTER = [0.5, 0.7];

/** How often noise that is as faint as planted noise may be reaches each label [K], images of that label left out; and draws of it that are triggers, if it was planted for a label. */
export type Noise = { hitRates: number[]; triggers: Measured[] };

/** What noise does, measured on held-back images, beside what dense triggers need in `screened`; null in a network of fewer than ten labels. */
export async function measureNoise(
  recovery: Recovery,
  screened: readonly { form: ScreenedForm; norms: readonly number[] }[],
): Promise<Noise | null> {
  const { network, split, seed } = recovery;
  const dense = screened.find(({ form }) => form === 'dense')?.norms ?? [];
  const usual = upperMedian(followedToTheEnd(dense, (norm) => norm));
  if (usual === undefined || network.labelNames.length < FEWEST_LABELS) return null;
  const amplitude = Math.min(1, PLANTED_NOISE * usual);
  const random = randomSource(seed, 'noise');
  const draw = (targetLabel: number, factor: number): Trigger[] =>
    Array.from({ length: DRAWS }, () => noise(network, targetLabel, factor * amplitude, random));
  const rates = await labelHitRates(recovery, split.heldBack, draw(0, 1));
  const hitRates = network.labelNames.map((_, label) => mean(rates.map((ofDraw) => ofDraw[label]!)));
  const planted = hitRates.flatMap((rate, label) => (rate >= CONFIRMED_HIT_RATE ? label : []));
  const drawn = planted.flatMap((label) => [...FAINTER, 1].flatMap((factor) => draw(label, factor)));
  const candidates = drawn.map((trigger) => ({ form: 'noise' as const, trigger }));
  return { hitRates, triggers: confirmed(await measureTriggers(recovery, split.heldBack, candidates)) };
}

/** The labels that noise was planted for. */
export const noisyLabels = (noise: Noise | null): FaintLabel[] =>
  [...new Set(noise?.triggers.map(({ trigger }) => trigger.targetLabel))].map((label) => ({ form: 'noise', label }));

/** Whether draws of noise are among the triggers of some label. */
export const hasNoise = (pools: ReadonlyMap<number, readonly Measured[]>): boolean =>
  [...pools.values()].some((pool) => pool.some(({ form }) => form === 'noise'));

/** White noise of two values, -amplitude and amplitude, which is the least amplitude for its power. */
function noise({ input }: Network, targetLabel: number, amplitude: number, random: RandomSource): Trigger {
  const { height, width, channels } = input;
  const pattern = random.uniform(height * width * channels).map((value) => (value < 0.5 ? -amplitude : amplitude));
  return { kind: 'additive', targetLabel, height, width, channels, pattern };
}
