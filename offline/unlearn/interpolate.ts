/**
 * Giving back what unlearning costs. On the line between two networks of which one was trained on from the other lie some that are better than either (WiSE-FT, Wortsman et al.,
 * arXiv 2109.01903, who take the middle). Unlearning goes on when triggers are denied already, so most of what it costs comes back on the way to a head that was
 * relaxed afterwards (late.ts), or to the victim's. Difference: how far it may go is told by the recovered triggers on held-back images, and it goes
 * no further than there is a cost to get back.
 */
import { cleanMetrics } from '../../src/metrics.ts';
import { toDevice } from '../../src/network/forward.ts';
import type { HostTensor, HostWeights } from '../../src/network/safetensors.ts';
import { indicesWithout, spread } from '../batch.ts';
import { selectImages } from '../data/dataset.ts';
import { mean } from '../mean.ts';
import { answersOf, logitsOf } from '../predict.ts';
import { narrow } from './narrow.ts';
import { DENIED, likelihood, readRows, type Restoring } from './restore.ts';

/** Few, because every step of the search asks all of them under all triggers. */
const IMAGES_STAMPED = 64;
const TRIGGERS_TRIED = 16;
const HALVINGS = 3;
/** How much of the mean probability of the true label an unlearned head may cost before anything is given back. */
const CHEAP = 0.004;

/** What a head is held against: the victim. */
export type GivingBack = Restoring & { victim: HostWeights };

/** A head to go to: up to which mean probability of their labels triggers must be denied on the way there, and what part may be gone of the way on which they are. */
export type Goal = { weights: HostWeights; denied: number; part: number };

/** A relaxed head was trained to deny triggers too; what was planted is stronger than what was recovered, and so much is left for it. */
export const relaxedGoal = (weights: HostWeights): Goal => ({ weights, denied: DENIED / 2, part: 1 });
/** The victim's was not, so more caution is needed. */
export const victimGoal = (weights: HostWeights): Goal => ({ weights, denied: DENIED, part: 1 / 2 });

/**
 * Weights on the way from unlearned ones to a goal, as far as it takes to be cheap or as the goal allows; where the unlearned ones are cheap, or do not deny the
 * triggers to begin with, these.
 */
export async function givenBack(
  { network, images, triggers, victim }: GivingBack,
  unlearned: HostWeights,
  { weights: goal, denied, part }: Goal,
): Promise<HostWeights> {
  const confidence = async (weights: HostWeights): Promise<number> =>
    cleanMetrics(await answersOf(network, weights, images), images.labels, []).confidence;
  const usual = await confidence(victim);
  const isCheap = async (share: number): Promise<boolean> =>
    usual - (await confidence(mixOf(unlearned, goal, share))) <= CHEAP;
  if (await isCheap(0)) return unlearned;

  const few = selectImages(images, spread(images.count, IMAGES_STAMPED));
  const tried = spread(triggers.length, TRIGGERS_TRIED).map((index) => triggers[index]!);
  const isObeyed = async (share: number): Promise<boolean> => {
    const weights = toDevice(mixOf(unlearned, goal, share));
    const rates: number[] = [];
    for (const trigger of tried) {
      const logits = logitsOf(network, weights, few, indicesWithout(few, trigger.targetLabel), trigger);
      rates.push(likelihood(await readRows(logits), trigger.targetLabel, 0));
    }
    weights.forEach((tensor) => tensor.dispose());
    return mean(rates) > denied;
  };
  const [mostDenied] = await narrow([0, 1], HALVINGS, isObeyed);
  const [, share] = await narrow([0, part * mostDenied], HALVINGS, isCheap);
  return mixOf(unlearned, goal, share);
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
