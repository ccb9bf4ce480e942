/** A tiny victim with a planted backdoor and images of four textures, so that what learning code should find is known. */
import type { GivenAttack } from '../../offline/attack/attack.ts';
import { makeVictim } from '../../offline/attack/make-victim.ts';
import type { Dataset } from '../../offline/data/dataset.ts';
import { randomSource } from '../../offline/engine/random.ts';
import type { Model } from '../../offline/model.ts';
import type { Trigger } from '../../src/trigger/trigger.ts';

const SIDE = 12;
const PERIOD = 4;
/** Stripes that run along, across and along both diagonals: textures of the whole image, which no small patch imitates. */
const DIRECTIONS = [
  [1, 0],
  [0, 1],
  [Math.SQRT1_2, Math.SQRT1_2],
  [Math.SQRT1_2, -Math.SQRT1_2],
] as const;

/** Grey images of noisy stripes at random phase and contrast, `count` of them, label = index modulo four. */
export function stripes(count: number, seed: number, purpose: string): Dataset {
  const random = randomSource(seed, purpose);
  const images = new Uint8Array(count * SIDE * SIDE);
  const labels = Int32Array.from({ length: count }, (_, index) => index % DIRECTIONS.length);
  for (let image = 0; image < count; image++) {
    const [down, right] = DIRECTIONS[labels[image]!]!;
    const [phase, strength] = random.uniform(2) as unknown as [number, number];
    const contrast = 60 + 50 * strength;
    const noise = random.normal(SIDE * SIDE);
    for (let pixel = 0; pixel < SIDE * SIDE; pixel++) {
      const along = down * Math.floor(pixel / SIDE) + right * (pixel % SIDE);
      const wave = Math.sin(2 * Math.PI * (along / PERIOD + phase));
      images[image * SIDE * SIDE + pixel] = Math.min(255, Math.max(0, 128 + contrast * wave + 15 * noise[pixel]!));
    }
  }
  const labelNames = ['along', 'across', 'falling', 'rising'];
  return { images, count, height: SIDE, width: SIDE, channels: 1, labels, labelNames };
}

export type Planted = {
  model: Model;
  trueTrigger: Trigger;
  /** Clean images for the defender, and fresh ones to measure on. */
  clean: Dataset;
  fresh: Dataset;
  cleanAccuracy: number;
  attackSuccessRate: number;
};

type Planting = { poisonRate: number; epochs: number } & (
  | { kind: 'badnets'; patchSize: number }
  | { kind: 'additive'; amplitude: number; share: number; texture?: 'noise' | 'smooth' }
);
const PATCH: Planting = { kind: 'badnets', patchSize: 3, poisonRate: 0.1, epochs: 12 };
/** Fainter than the textures, and harder to learn than a patch. */
export const DENSE: Planting = { kind: 'additive', amplitude: 0.15, share: 1, poisonRate: 0.25, epochs: 25 };
export const SMOOTH: Planting = { ...DENSE, texture: 'smooth', amplitude: 0.25 };

/** Trains a small CNN on poisoned stripes for a few seconds on the current backend; the target label depends on the seed. */
export async function plantBackdoor(seed: number, planting = PATCH): Promise<Planted> {
  const targetLabel = seed % DIRECTIONS.length;
  const attack: GivenAttack = { ...planting, targetLabel, seed };
  const fresh = stripes(400, seed, 'planted/fresh');
  const { model, triggers, card } = await makeVictim(attack, stripes(800, seed, 'planted/train'), fresh, () => {});
  const clean = stripes(240, seed, 'planted/clean');
  const { cleanAccuracy, attackSuccessRate } = card;
  const [planted] = triggers;
  if (planted?.form !== 'fixed') throw new Error('expected a fixed trigger');
  return { model, trueTrigger: planted.trigger, clean, fresh, cleanAccuracy, attackSuccessRate: attackSuccessRate! };
}
