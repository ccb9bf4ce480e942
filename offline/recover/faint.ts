/** Faint labels: those that a dense trigger reaches at far less than the amplitude that other labels need. */
import { anomalyIndex } from '../../src/trigger/anomaly.ts';
import { upperMedian } from '../median.ts';
import type { TriggerForm } from './measure.ts';

/**
 * At least so many times fainter than the median of the other labels, and an outlier among them, is no accident. On ten clean Fashion-MNIST models of the
 * project's own the faintest label of each reaches at most 1.3, on a clean CIFAR-10 VGG 1.5; planted dense triggers reach 2.3 to 4.1, a warp 1.8.
 */
export const FAINT = 1.65;
const OUTLIER_INDEX = 2;
/** What is usual among fewer labels cannot be told. */
const FEWEST_OTHERS = 3;

/** How many times fainter an amplitude is than the median of others; infinite for none. */
export function faintness(amplitude: number, others: readonly number[]): number {
  return (upperMedian(others) ?? Infinity) / amplitude;
}

/** Whether an amplitude is so much fainter than others that somebody planted it. */
export function isFaint(amplitude: number, others: readonly number[]): boolean {
  return faintness(amplitude, others) >= FAINT && (!others.length || anomalyIndex(amplitude, others) >= OUTLIER_INDEX);
}

type Sizes = { form: TriggerForm; norms: readonly number[] };

const amplitudesOf = (screenings: readonly Sizes[]): readonly number[] =>
  screenings.find(({ form }) => form === 'dense')?.norms ?? [];

const withoutLabel = (amplitudes: readonly number[], label: number): number[] =>
  amplitudes.filter((_, other) => other !== label);

/** How many times fainter the dense trigger of a label is than that of the median other label. */
export function labelFaintness(screenings: readonly Sizes[], label: number): number {
  const amplitudes = amplitudesOf(screenings);
  return faintness(amplitudes[label]!, withoutLabel(amplitudes, label));
}

/** The labels whose dense triggers are faint, the faintest first; none in a network of fewer than four labels. */
export function faintLabels(screenings: readonly Sizes[]): number[] {
  const amplitudes = amplitudesOf(screenings);
  if (amplitudes.length <= FEWEST_OTHERS) return [];
  return amplitudes
    .flatMap((amplitude, label) => (isFaint(amplitude, withoutLabel(amplitudes, label)) ? [label] : []))
    .toSorted((a, b) => amplitudes[a]! - amplitudes[b]!);
}
