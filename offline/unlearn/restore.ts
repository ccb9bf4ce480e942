/**
 * Restoring: to deny a trigger its label makes the label less likely on clean images too. Training does not see that, for it knows its few images of
 * the label by heart; held-back images show it. So the logit of the label is raised until they are given it as often as by the victim, in
 * probability (logit adjustment, Menon et al., arXiv 2007.07314; here the victim's own frequency is the prior, and one label moves at a
 * time), and a little further if those that the victim gives it lost some to others; but no further than recovered triggers stay denied.
 * Where protecting those images did too much, and others are given the label as well, the logit is lowered until all are given it as often as by the
 * victim or those images begin to lose it.
 */
import type { HostWeights } from '../../src/network/safetensors.ts';
import { answersToClean, answersToStamped, likelihood, type HeldBack, type Logits } from './held-back.ts';
import { narrow } from './narrow.ts';

/** The mean probability of its label up to which a trigger counts as denied. */
export const DENIED = 0.01;
/** How much of the label's mean probability must be left on images that the victim gives it. */
const KEPT = 0.97;
/** And how much likelier than by the victim they may make the label, for they are few and may mislead. */
const LIKELIER = 1.05;
/** The most that a logit is raised or lowered. */
const MOST = 4;
const HALVINGS = 16;

/** The unlearned weights with the bias of each unlearned label's logit moved as far as that restores it; the same where the output layer has no bias. */
export async function restoreLabels(heldBack: HeldBack, unlearned: HostWeights): Promise<HostWeights> {
  const { network, usual } = heldBack;
  const name = `${network.output}/bias`;
  const bias = unlearned.get(name);
  if (bias?.dtype !== 'F32') return unlearned;
  const clean = await answersToClean(heldBack, unlearned);
  const stamped = await answersToStamped(heldBack, unlearned);
  const moved = bias.data.slice();
  for (const [label, own] of Map.groupBy(stamped, ({ targetLabel }) => targetLabel)) {
    const isGiven = usual.map((row) => row.every((logit) => logit <= row[label]!));
    const givenOf = (logits: Logits): Logits => logits.filter((_, image) => isGiven[image]);
    const given = givenOf(clean);
    const wanted = likelihood(usual, label);
    const wantedOfGiven = likelihood(givenOf(usual), label);
    const isUsual = (shift: number): boolean => {
      const likely = likelihood(clean, label, shift);
      const isLacking = likelihood(given, label, shift) <= KEPT * wantedOfGiven;
      return likely <= wanted || (isLacking && (shift <= 0 || likely <= LIKELIER * wanted));
    };
    const triggered = own.flatMap(({ logits }) => logits);
    const isDenied = (shift: number): boolean => likelihood(triggered, label, shift) <= DENIED;
    moved[label] = moved[label]! + Math.min(await largestShift(-MOST, isUsual), await largestShift(0, isDenied));
  }
  return new Map([...unlearned, [name, { ...bias, data: moved }]]);
}

/** The largest shift in least .. MOST that is within bounds, which no larger one is then; `least` if none is. */
async function largestShift(least: number, isWithin: (shift: number) => boolean): Promise<number> {
  const [shift] = await narrow([least, MOST], HALVINGS, (asked) => !isWithin(asked));
  return shift;
}
