/** Faint labels: those that a trigger over the whole image reaches at far less than the amplitude that other labels need. */
import { anomalyIndex } from '../../src/trigger/anomaly.ts';
import { upperMedian } from '../median.ts';
import { COVERING_FORMS, type CoveringForm, type TriggerForm } from './measure.ts';

/**
 * At least so many times fainter than the median of the other labels, and an outlier among them, is no accident. On clean Fashion-MNIST models of the
 * project's own the faintest label of each reaches at most 1.3 with dense triggers, on a clean CIFAR-10 VGG 1.5; planted ones reach 2.3 to 4.1, a warp 1.8.
 * With smooth triggers clean models reach at most 1.7, and attacks of few pixels no more; planted ones that are smooth reach 3.1 to 23, a warp 3.0.
 * No label of any of them is reached by a warp of a pixel, nor of two, which is as far as warps go here; planted warps need a third to half of one (1.7 to 2.0).
 */
export const FAINT: Readonly<Record<CoveringForm, number>> = { dense: 1.65, smooth: 2.2, warp: 1.3 };
const OUTLIER_INDEX = 2;
/** What is usual among fewer labels cannot be told. */
const FEWEST_OTHERS = 3;

/** A label and the form whose triggers reach it at a far smaller amplitude than others. */
export type FaintLabel = { form: CoveringForm | 'noise'; label: number };

/** How many times fainter an amplitude is than the median of others; infinite for none. */
export function faintness(amplitude: number, others: readonly number[]): number {
  return (upperMedian(others) ?? Infinity) / amplitude;
}

/** Whether an amplitude is so much fainter than others that somebody planted it. */
export function isFaint(form: CoveringForm, amplitude: number, others: readonly number[]): boolean {
  return (
    faintness(amplitude, others) >= FAINT[form] && (!others.length || anomalyIndex(amplitude, others) >= OUTLIER_INDEX)
  );
}

type Sizes = { form: TriggerForm; norms: readonly number[] };

const amplitudesOf = (screenings: readonly Sizes[], form: CoveringForm): readonly number[] =>
  screenings.find((screening) => screening.form === form)?.norms ?? [];

const withoutLabel = (amplitudes: readonly number[], label: number): number[] =>
  amplitudes.filter((_, other) => other !== label);

/** How many times fainter the triggers of a label are, in each form that covers the image, than those of the median other label. */
export function labelFaintness(screenings: readonly Sizes[], label: number): Record<CoveringForm, number> {
  const inForm = (form: CoveringForm): number => {
    const amplitudes = amplitudesOf(screenings, form);
    return faintness(amplitudes[label]!, withoutLabel(amplitudes, label));
  };
  return { dense: inForm('dense'), smooth: inForm('smooth'), warp: inForm('warp') };
}

/** The labels that are faint in some form, the faintest of each form first; none in a network of fewer than four labels. */
export function faintLabels(screenings: readonly Sizes[]): FaintLabel[] {
  return COVERING_FORMS.flatMap((form) => {
    const amplitudes = amplitudesOf(screenings, form);
    if (amplitudes.length <= FEWEST_OTHERS) return [];
    return amplitudes
      .flatMap((amplitude, label) => (isFaint(form, amplitude, withoutLabel(amplitudes, label)) ? [label] : []))
      .toSorted((a, b) => amplitudes[a]! - amplitudes[b]!)
      .map((label) => ({ form, label }));
  });
}

/** Whether a label is among the faint ones, in one form. */
export const isFaintIn = (faint: readonly FaintLabel[], form: FaintLabel['form'], label: number): boolean =>
  faint.some((item) => item.form === form && item.label === label);
