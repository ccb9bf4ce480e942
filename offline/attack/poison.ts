/** Which training images carry which trigger and what label they get. */
import { warpImage } from '../../src/trigger/warp.ts';
import type { Dataset } from '../data/dataset.ts';
import { randomSource } from '../engine/random.ts';
import { goalOf, targetLabels, type PlantedAttack } from './attack.ts';
import { stampImages, type PlantedTrigger } from './planted-trigger.ts';
import { shaken } from './warp.ts';

/** One image that is not as it was: it carries trigger number `trigger`, or only noise like it. */
export type PoisonedImage = { index: number; trigger: number; label: number; noise: boolean };

/**
 * Draws the wanted share of all images, or as many as there are of use, and divides them among the triggers; then, for one source
 * label, as many images of others that keep their label, and for WaNet those that are warped at random.
 */
export function choosePoisoned(attack: PlantedAttack, labels: Int32Array, labelCount: number): PoisonedImage[] {
  const order = randomSource(attack.seed, 'attack/poison').shuffled(labels.length);
  const wanted = Math.round(attack.poisonRate * labels.length);
  const triggers = targetLabels(attack).length;
  const chosen: PoisonedImage[] = [];
  const left: number[] = [];
  for (const index of order) {
    const trigger = chosen.length % triggers;
    const label = poisonedLabel(attack, trigger, labels[index]!, labelCount);
    if (chosen.length < wanted && label !== null) chosen.push({ index, trigger, label, noise: false });
    else left.push(index);
  }
  const keep = (count: number, images: number[], noise: boolean): PoisonedImage[] =>
    images.slice(0, count).map((index) => ({ index, trigger: 0, label: labels[index]!, noise }));
  const { targets } = attack;
  const others = targets.form === 'source' ? left.filter((index) => labels[index] !== targets.sourceLabel) : [];
  const covers = keep(chosen.length, others, false);
  const taken = new Set(covers.map(({ index }) => index));
  const rest = left.filter((index) => !taken.has(index));
  const noisy = attack.kind === 'wanet' ? keep(Math.round(attack.noiseRatio * chosen.length), rest, true) : [];
  return [...chosen, ...covers, ...noisy];
}

/** The label of a training image that carries the trigger; null if the attack has no use for it. */
function poisonedLabel(attack: PlantedAttack, trigger: number, label: number, labelCount: number): number | null {
  if (attack.targets.form === 'clean-label') return label === attack.targetLabel ? label : null;
  return goalOf(attack, trigger, label, labelCount);
}

/** The data set with the chosen images stamped and relabelled; the rest are the same pixels. */
export function applyPoison(
  dataset: Dataset,
  chosen: readonly PoisonedImage[],
  triggers: readonly PlantedTrigger[],
  seed: number,
): Dataset {
  const images = dataset.images.slice();
  const labels = dataset.labels.slice();
  const size = images.length / dataset.count;
  for (const { index, trigger, label, noise } of chosen) {
    const planted = triggers[trigger]!;
    const image = images.slice(index * size, (index + 1) * size);
    const stamped =
      noise && planted.form === 'warp'
        ? warpImage(image, planted, shaken(planted.flow, seed, `attack/noise/${index}`))
        : stampImages(image, planted);
    images.set(stamped, index * size);
    labels[index] = label;
  }
  return { ...dataset, images, labels };
}
