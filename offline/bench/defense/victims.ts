/** The bench's victims: made once by the attack lab, then loaded from the folder `victims`. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { failure, success, type Result } from '../../../src/result.ts';
import { attackSchema, checkAttack, type Attack } from '../../attack/attack.ts';
import { openCheckpoint } from '../../attack/checkpoint.ts';
import { makeVictim, resumableOf } from '../../attack/make-victim.ts';
import { loadVictim, saveVictim } from '../../attack/victim-files.ts';
import type { Victim } from '../../attack/victim.ts';
import { digestDataset, type Dataset } from '../../data/dataset.ts';
import { isTaken } from '../../directory.ts';
import { uninterrupted } from '../../interrupt.ts';
import { digestModel, type Model } from '../../model.ts';
import type { Report } from '../../progress.ts';

/** What a victim is made of: images to train it on and to measure it on, and the trained network that it goes on from, if it does. */
export type Material = { train: Dataset; test: Dataset; start: Model | undefined };

/** Loads a victim, or makes it, going on where an interrupted run stopped; fails on one of another make. */
export async function obtainVictim(
  directory: string,
  name: string,
  given: Attack,
  material: Material,
  report: Report,
): Promise<Result<Victim>> {
  const { train, start } = material;
  const attack = start ? { ...given, startDigest: digestModel(start) } : given;
  const place = join(directory, 'victims', name);
  return (await isTaken(place)) ? loadMade(place, attack, train) : make(place, attack, material, report);
}

async function loadMade(place: string, attack: Attack, train: Dataset): Promise<Result<Victim>> {
  const victim = await loadVictim(place);
  if (!victim.ok) return victim;
  const { card } = victim.value;
  const same = JSON.stringify(attackSchema.parse(card)) === JSON.stringify(attack);
  if (same && card.trainDigest === digestDataset(train)) return victim;
  return failure(`${place}: expected a victim of this grid, got one of another; take another --out`);
}

async function make(
  place: string,
  attack: Attack,
  { train, test, start }: Material,
  report: Report,
): Promise<Result<Victim>> {
  const fits = checkAttack(attack, train.height, train.width, train.labelNames?.length ?? 0);
  if (!fits.ok) return fits;
  await mkdir(join(place, '..'), { recursive: true });
  const checkpoint = await openCheckpoint(place, resumableOf(attack, train));
  if (!checkpoint.ok) return checkpoint;
  const victim = await makeVictim(attack, train, test, report, { checkpoint: checkpoint.value, start });
  const saved = await uninterrupted(() => saveVictim(place, victim));
  if (!saved.ok) return saved;
  await checkpoint.value.remove();
  return success(victim);
}
