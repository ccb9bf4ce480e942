/**
 * Giving back what unlearning costs. On the line between two networks of which one was trained on from the other lie some that are better than either (WiSE-FT, Wortsman et al.,
 * arXiv 2109.01903, who take the middle). Unlearning goes on when triggers are denied already, so most of what it costs comes back on the way to a head that was
 * relaxed afterwards (late.ts), or to the victim's. Difference: how far it may go is told by the recovered triggers on held-back images, and it goes
 * no further than that gets a cost back.
 */
import type { HostTensor, HostWeights } from '../../src/network/safetensors.ts';
import { mean } from '../mean.ts';
import { answersToClean, answersToStamped, confidenceOf, likelihood, type HeldBack } from './held-back.ts';
import { narrow } from './narrow.ts';
import { DENIED } from './restore.ts';

const HALVINGS = 3;
/** How much of the mean probability of the true label an unlearned head may cost before anything is given back. */
const CHEAP = 0.004;
/** Of less than this nothing is noticed on clean images, while what triggers get back may be much. */
const UNNOTICED = 0.0005;

/** A head to go to: up to which mean probability of their labels triggers must be denied on the way there, and what part may be gone of the way on which they are. */
export type Goal = { weights: HostWeights; denied: number; part: number };

/** A relaxed head was trained to deny triggers too; what was planted is stronger than what was recovered, and so much is left for it. */
export const relaxedGoal = (weights: HostWeights): Goal => ({ weights, denied: DENIED / 2, part: 1 });
/** The victim's was not, so more caution is needed. */
export const victimGoal = (weights: HostWeights): Goal => ({ weights, denied: DENIED, part: 1 / 2 });

/**
 * Weights on the way from unlearned ones to a goal, as far as it takes to be cheap, or as cheap as the goal allows; where the unlearned ones are that already, or do not deny the
 * triggers to begin with, these.
 */
export async function givenBack(
  heldBack: HeldBack,
  unlearned: HostWeights,
  { weights: goal, denied, part }: Goal,
): Promise<HostWeights> {
  const { labels, usual } = heldBack;
  const usualConfidence = confidenceOf(usual, labels);
  const at = (share: number): HostWeights => mixOf(unlearned, goal, share);
  const costAt = async (share: number): Promise<number> =>
    usualConfidence - confidenceOf(await answersToClean(heldBack, at(share)), labels);
  const cost = await costAt(0);
  if (cost <= CHEAP) return unlearned;
  const isObeyed = async (share: number): Promise<boolean> => {
    const stamped = await answersToStamped(heldBack, at(share));
    return !(mean(stamped.map(({ targetLabel, logits }) => likelihood(logits, targetLabel))) <= denied);
  };
  const [mostDenied] = await narrow([0, 1], HALVINGS, isObeyed);
  const most = part * mostDenied;
  const costThere = await costAt(most);
  if (cost - costThere <= UNNOTICED) return unlearned;
  const wanted = Math.max(CHEAP, costThere);
  const [, share] = await narrow([0, most], HALVINGS, async (asked) => (await costAt(asked)) <= wanted);
  return at(share);
}

/** Weights that have gone this share of the way from one network to another of the same make; what both share stays as it is. */
export function mixOf(from: HostWeights, to: HostWeights, share: number): HostWeights {
  return new Map([...from].map(([name, tensor]) => [name, between(tensor, to.get(name)!, share)]));
}

function between(from: HostTensor, to: HostTensor, share: number): HostTensor {
  if (from === to) return from;
  const data = Float32Array.from(from.data, (value, at) => value + share * (to.data[at]! - value));
  return { dtype: 'F32', shape: from.shape, data };
}
