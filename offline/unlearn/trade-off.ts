/** What unlearning gives and what it costs, step by step, on held-back images: the trade-off curve of a report. */
import { dispose, tidy, type Tensor, type Tensor2D } from '@tensorflow/tfjs-core';
import { forward, type Weights } from '../../src/network/forward.ts';
import { IMAGES, type Network } from '../../src/network/network.ts';
import { attackSuccessRate, cleanAccuracy } from '../../src/metrics.ts';
import { stamp, type Trigger } from '../../src/trigger/trigger.ts';
import { everyIndex, imageBatch, spread } from '../batch.ts';
import { selectImages, type Dataset } from '../data/dataset.ts';
import { mean } from '../mean.ts';
import { labelsOf } from '../predict.ts';

/** Rates on the watched images after a number of steps; the attack is that of the recovered triggers. */
export type Moment = { step: number; cleanAccuracy: number; attackSuccessRate: number };

/** Images that are not unlearned with, and the recovered triggers. */
export type Watched = { images: Dataset; triggers: readonly Trigger[] };

/** How many steps lie between two looks. */
export const WATCH_STEPS = 50;
/** Few images and triggers, because they are looked at many times. */
const IMAGES_WATCHED = 100;
const TRIGGERS_WATCHED = 4;

export type Watch = { moments: Moment[]; look: (step: number, weights: Weights) => Promise<void>; end: () => void };

/** Watches a network whose layers up to `cut` (`images` for none) stay as they are in `weights`. */
export function openWatch(network: Network, cut: string, weights: Weights, watched: Watched): Watch {
  const images = selectImages(watched.images, spread(watched.images.count, IMAGES_WATCHED));
  const triggers = spread(watched.triggers.length, TRIGGERS_WATCHED).map((index) => watched.triggers[index]!);
  const batch = tidy(() => imageBatch(images, everyIndex(images.count)));
  const activations = [undefined, ...triggers].map((trigger) =>
    tidy(() =>
      forward(network, weights, new Map([[IMAGES, trigger ? stamp(batch, trigger) : batch]]), [cut])[0]!.clone(),
    ),
  );
  const answers = (entering: Tensor, current: Weights): Promise<Int32Array> =>
    labelsOf(tidy(() => forward(network, current, new Map([[cut, entering]]), [network.output])[0] as Tensor2D));
  const moments: Moment[] = [];
  const look = async (step: number, current: Weights): Promise<void> => {
    const [clean, ...stamped] = activations;
    const rates: number[] = [];
    for (const [index, { targetLabel }] of triggers.entries()) {
      rates.push(attackSuccessRate(await answers(stamped[index]!, current), images.labels, targetLabel).rate);
    }
    moments.push({
      step,
      cleanAccuracy: cleanAccuracy(await answers(clean!, current), images.labels).rate,
      attackSuccessRate: mean(rates),
    });
  };
  return { moments, look, end: () => dispose([batch, ...activations]) };
}
