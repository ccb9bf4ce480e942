/**
 * Restoring: to deny a trigger its label makes the label less likely on clean images too. Training does not see that, for it knows its few images of
 * the label by heart; held-back images show it. So the logit of the label is raised until they are given it as often as by the victim, in
 * probability (logit adjustment, Menon et al., arXiv 2007.07314; here the victim's own frequency is the prior, and one label moves at a
 * time), and a little further if those that the victim gives it lost some to others; but no further than recovered triggers stay denied.
 * Where protecting those images did too much, and others are given the label as well, the logit is lowered until all are given it as often as by the
 * victim or those images begin to lose it.
 */
import type { Tensor2D } from '@tensorflow/tfjs-core';
import { toDevice, type Weights } from '../../src/network/forward.ts';
import type { Network } from '../../src/network/network.ts';
import type { HostWeights } from '../../src/network/safetensors.ts';
import type { Trigger } from '../../src/trigger/trigger.ts';
import { everyIndex, spread } from '../batch.ts';
import { selectImages, type Dataset } from '../data/dataset.ts';
import { mean } from '../mean.ts';
import { logitsOf } from '../predict.ts';
import { narrow } from './narrow.ts';

/** What a label is restored by: images that nothing was trained on, and the triggers that were unlearned. */
export type Restoring = { network: Network; images: Dataset; triggers: readonly Trigger[] };

/** The mean probability of its label up to which a trigger counts as denied. */
export const DENIED = 0.01;
/** How much of the label's mean probability must be left on images that the victim gives it. */
const KEPT = 0.97;
/** And how much likelier than by the victim they may make the label, for they are few and may mislead. */
const LIKELIER = 1.05;
/** The most that a logit is raised or lowered. */
const MOST = 4;
const HALVINGS = 16;
/** Enough to know a mean probability, and few enough to cost seconds on a large network. */
const IMAGES_STAMPED = 128;
const TRIGGERS_TRIED = 16;

type Logits = readonly (readonly number[])[];

/** The unlearned weights with the bias of each unlearned label's logit moved as far as that restores it; the same where the output layer has no bias. */
export async function restoreLabels(
  { network, images, triggers }: Restoring,
  victim: HostWeights,
  unlearned: HostWeights,
): Promise<HostWeights> {
  const name = `${network.output}/bias`;
  const bias = unlearned.get(name);
  if (bias?.dtype !== 'F32') return unlearned;
  const [before, after] = [toDevice(victim), toDevice(unlearned)];
  const answers = (of: Weights, asked: Dataset, trigger?: Trigger): Promise<number[][]> =>
    readRows(logitsOf(network, of, asked, everyIndex(asked.count), trigger));
  const usual = await answers(before, images);
  const clean = await answers(after, images);
  const few = selectImages(images, spread(images.count, IMAGES_STAMPED));
  const moved = bias.data.slice();
  for (const [label, own] of Map.groupBy(triggers, ({ targetLabel }) => targetLabel)) {
    const stamped: number[][] = [];
    for (const index of spread(own.length, TRIGGERS_TRIED)) {
      const rows = await answers(after, few, own[index]!);
      stamped.push(...rows.filter((_, image) => few.labels[image] !== label));
    }
    const isGiven = usual.map((row) => row.every((logit) => logit <= row[label]!));
    const givenOf = (logits: Logits): Logits => logits.filter((_, image) => isGiven[image]);
    const given = givenOf(clean);
    const wanted = likelihood(usual, label, 0);
    const wantedOfGiven = likelihood(givenOf(usual), label, 0);
    const isUsual = (shift: number): boolean => {
      const likely = likelihood(clean, label, shift);
      const isLacking = likelihood(given, label, shift) <= KEPT * wantedOfGiven;
      return likely <= wanted || (isLacking && (shift <= 0 || likely <= LIKELIER * wanted));
    };
    const isDenied = (shift: number): boolean => likelihood(stamped, label, shift) <= DENIED;
    moved[label] = moved[label]! + Math.min(await largestShift(-MOST, isUsual), await largestShift(0, isDenied));
  }
  [before, after].forEach((held) => held.forEach((tensor) => tensor.dispose()));
  return new Map([...unlearned, [name, { ...bias, data: moved }]]);
}

/** The rows of logits [N,K], which are freed. */
export async function readRows(logits: Tensor2D): Promise<number[][]> {
  const rows = await logits.array();
  logits.dispose();
  return rows;
}

/** The mean probability of a label whose logit is moved. */
export function likelihood(logits: Logits, label: number, shift: number): number {
  const probabilities = logits.map((row) => {
    const own = row[label]! + shift;
    const others = row.reduce((sum, logit, index) => sum + (index === label ? 0 : Math.exp(logit - own)), 0);
    return 1 / (1 + others);
  });
  return mean(probabilities);
}

/** The largest shift in least .. MOST that is within bounds, which no larger one is then; `least` if none is. */
async function largestShift(least: number, isWithin: (shift: number) => boolean): Promise<number> {
  const [shift] = await narrow([least, MOST], HALVINGS, (asked) => !isWithin(asked));
  return shift;
}
