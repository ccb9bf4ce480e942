/** Makes a victim for evaluation: trains a network on a data set that it has poisoned first, or on the clean one as a control. */
import { toDevice } from '../../src/network/forward.ts';
import type { Network } from '../../src/network/network.ts';
import type { HostTensor } from '../../src/network/safetensors.ts';
import { attackSuccessRate, cleanAccuracy } from '../../src/metrics.ts';
import type { Trigger } from '../../src/trigger/trigger.ts';
import { everyIndex } from '../batch.ts';
import type { Dataset } from '../data/dataset.ts';
import type { Model } from '../model.ts';
import { predict } from '../predict.ts';
import type { Report } from '../progress.ts';
import { patchTrigger, poison } from './badnets.ts';
import { smallCnn } from './small-cnn.ts';
import { trainVictim } from './train-victim.ts';

export type Attack = {
  kind: 'badnets' | 'none';
  targetLabel: number;
  patchSize: number;
  poisonRate: number;
  epochs: number;
  seed: number;
};

export type Victim = {
  model: Model;
  trueTrigger?: Trigger;
  /** What was done and what came of it, measured on the test set; everything a rerun needs. */
  card: Attack & { architecture: string; cleanAccuracy: number; attackSuccessRate?: number };
};

/** Trains a small CNN on `train` under the attack and measures it on `test`. */
export async function makeVictim(attack: Attack, train: Dataset, test: Dataset, report: Report): Promise<Victim> {
  const { kind, targetLabel, patchSize, poisonRate, epochs, seed } = attack;
  const { height, width, channels, labelNames } = train;
  if (!labelNames) throw new Error('makeVictim: the training set needs label names');
  const network = smallCnn({ height, width, channels }, labelNames);
  const trueTrigger = kind === 'none' ? undefined : patchTrigger(train, { size: patchSize, targetLabel, seed });
  const data = trueTrigger ? poison(train, trueTrigger, poisonRate, seed) : train;
  const weights = await trainVictim(network, data, {
    epochs,
    seed,
    afterStep: (step, steps) => report({ step: step + 1, steps }),
  });
  const measured = await measure(network, weights, test, trueTrigger);
  const card = { ...attack, architecture: 'small-cnn', ...measured };
  return { model: { network, weights }, card, ...(trueTrigger && { trueTrigger }) };
}

async function measure(
  network: Network,
  hostWeights: ReadonlyMap<string, HostTensor>,
  test: Dataset,
  trigger?: Trigger,
): Promise<{ cleanAccuracy: number; attackSuccessRate?: number }> {
  const weights = toDevice(hostWeights);
  const indices = everyIndex(test.count);
  const accuracy = cleanAccuracy(await predict(network, weights, test, indices), test.labels).rate;
  if (!trigger) return { cleanAccuracy: accuracy };
  const predicted = await predict(network, weights, test, indices, trigger);
  return {
    cleanAccuracy: accuracy,
    attackSuccessRate: attackSuccessRate(predicted, test.labels, trigger.targetLabel).rate,
  };
}
