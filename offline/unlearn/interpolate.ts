/**
 * Back towards the victim. On the line between a network and what fine-tuning made of it lie networks that are better than either (WiSE-FT, Wortsman et al.,
 * arXiv 2109.01903, who take the middle). Unlearning goes on when triggers are denied already, and most of what that costs comes back on the way back.
 * Difference: how far it may go is told by the recovered triggers on held-back images. What was planted is stronger than what was recovered, so at most half of
 * that way is gone, and no more of it than there is a cost to get back.
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

/**
 * Weights on the way back from the unlearned ones to the victim's, as far as it takes to be cheap, but at most half as far as the triggers stay denied; where
 * the unlearned ones are cheap, or do not deny the triggers to begin with, these.
 */
export async function towardsVictim(
  { network, images, triggers }: Restoring,
  victim: HostWeights,
  unlearned: HostWeights,
): Promise<HostWeights> {
  const confidence = async (weights: HostWeights): Promise<number> =>
    cleanMetrics(await answersOf(network, weights, images), images.labels, []).confidence;
  const usual = await confidence(victim);
  const isCostly = async (share: number): Promise<boolean> =>
    usual - (await confidence(mixOf(victim, unlearned, share))) > CHEAP;
  if (!(await isCostly(1))) return unlearned;

  const few = selectImages(images, spread(images.count, IMAGES_STAMPED));
  const tried = spread(triggers.length, TRIGGERS_TRIED).map((index) => triggers[index]!);
  const isDenied = async (share: number): Promise<boolean> => {
    const weights = toDevice(mixOf(victim, unlearned, share));
    const rates: number[] = [];
    for (const trigger of tried) {
      const logits = logitsOf(network, weights, few, indicesWithout(few, trigger.targetLabel), trigger);
      rates.push(likelihood(await readRows(logits), trigger.targetLabel, 0));
    }
    weights.forEach((tensor) => tensor.dispose());
    return mean(rates) <= DENIED;
  };
  const [, leastDenied] = await narrow([0, 1], HALVINGS, isDenied);
  const [share] = await narrow([(leastDenied + 1) / 2, 1], HALVINGS, isCostly);
  return mixOf(victim, unlearned, share);
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
