/** An attack as data: how the trigger looks, which images it sends where, and everything else that a rerun needs. */
import * as z from 'zod';
import { failure, success, type Result } from '../../src/result.ts';
import { ARCHITECTURES } from './networks.ts';
import { TEXTURES } from './patterns.ts';

const label = z.int().min(0).max(9_999);
const share = z.number().gt(0).lt(1);
const patchSize = z.int().min(1).max(64);

/**
 * `one`: every image goes to the target label. `several`: each label has a trigger of its own. `all-to-all`: from y to y + 1.
 * `source`: only images of the source label go to the target; as many others carry the trigger and keep their label.
 * `clean-label`: only images of the target label carry the trigger, so that no label is wrong (arXiv 1902.11237).
 */
const targets = z.discriminatedUnion('form', [
  z.strictObject({ form: z.literal('one') }),
  z.strictObject({ form: z.literal('several'), furtherLabels: z.array(label).min(1).max(15) }),
  z.strictObject({ form: z.literal('all-to-all') }),
  z.strictObject({ form: z.literal('source'), sourceLabel: label }),
  z.strictObject({ form: z.literal('clean-label') }),
]);

const training = {
  architecture: z.enum(ARCHITECTURES).default('small-cnn'),
  epochs: z.int().min(1).max(1000),
  seed: z.int().min(0),
  /** The digest (digestModel) of the trained network that training goes on from, as TrojanZoo's attacks do; without one it begins with random weights. */
  startDigest: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
};
const planted = {
  targetLabel: label,
  targets: targets.default({ form: 'one' }),
  /** The share of all training images that carry the trigger and go to the target. */
  poisonRate: share,
  ...training,
};

/** The schema of an attack; the files named by its kinds cite the papers. Fields of other kinds are dropped. */
export const attackSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('none'), ...training }),
  z.object({ kind: z.literal('badnets'), patchSize, place: z.enum(['fixed', 'random']).default('fixed'), ...planted }),
  z.object({ kind: z.literal('blended'), alpha: share, ...planted }),
  z.object({ kind: z.literal('signal'), amplitude: share, frequency: z.number().positive().max(64), ...planted }),
  z.object({
    kind: z.literal('wanet'),
    /** Control points a side. */
    grid: z.int().min(2).max(32),
    /** How far a control point moves an axis on average, in pixels. */
    strength: z.number().positive().max(8),
    /** Images warped at random that keep their label, for each poisoned one. */
    noiseRatio: z.number().min(0).max(4),
    ...planted,
  }),
  z.object({
    kind: z.literal('additive'),
    amplitude: share,
    /** How much of the image the pattern covers; smooth ones cover all of it. */
    share: z.number().gt(0).max(1),
    texture: z.enum(TEXTURES).default('noise'),
    ...planted,
  }),
  z.object({ kind: z.enum(['trojannn', 'imc']), patchSize, ...planted }),
  z.object({ kind: z.literal('hidden'), patchSize, hiding: z.number().positive().max(100), ...planted }),
  z.object({ kind: z.literal('mimic'), alpha: share, ...planted }),
]);

export type Attack = z.infer<typeof attackSchema>;
/** An attack as it is written, where fields may be left to their defaults. */
export type GivenAttack = z.input<typeof attackSchema>;
export type PlantedAttack = Exclude<Attack, { kind: 'none' }>;
export const ATTACK_KINDS = attackSchema.options.flatMap(({ shape }): string[] =>
  shape.kind instanceof z.ZodEnum ? shape.kind.options : [...shape.kind.values],
);

/** The label that each trigger asks for, or null where that depends on the image. */
export function targetLabels({ targets, targetLabel }: PlantedAttack): (number | null)[] {
  if (targets.form === 'all-to-all') return [null];
  return targets.form === 'several' ? [targetLabel, ...targets.furtherLabels] : [targetLabel];
}

/** The label that a trigger sends an image of `trueLabel` to, or null where the attack wants nothing of it. */
export function goalOf(attack: PlantedAttack, trigger: number, trueLabel: number, labelCount: number): number | null {
  const { targets } = attack;
  const target = targetLabels(attack)[trigger];
  if (target === undefined) throw new Error(`attack: there is no trigger ${trigger}`);
  if (target === null) return (trueLabel + 1) % labelCount;
  if (trueLabel === target) return null;
  return targets.form === 'source' && trueLabel !== targets.sourceLabel ? null : target;
}

/** Checks what a schema cannot: that the attack fits the images [H,W] and the labels; the error names the flag. */
export function checkAttack(attack: Attack, height: number, width: number, labelCount: number): Result<void> {
  if (attack.kind === 'none') return success(undefined);
  const last = labelCount - 1;
  const named = targetLabels(attack).filter((target) => target !== null);
  const beyond = named.find((target) => target > last);
  if (beyond !== undefined) return failure(`--target: expected a label from 0 to ${last}, got ${beyond}`);
  if (new Set(named).size < named.length) return failure(`--target: expected different labels, got ${named.join(',')}`);
  if (attack.targets.form === 'source') {
    const { sourceLabel } = attack.targets;
    if (sourceLabel > last) return failure(`--source: expected a label from 0 to ${last}, got ${sourceLabel}`);
    if (sourceLabel === attack.targetLabel) return failure('--source: expected another label than --target');
  }
  if (attack.kind === 'mimic' && attack.targets.form === 'all-to-all') {
    return failure('--target: expected labels for mimic, which imitates their images, got next');
  }
  if (attack.kind === 'additive' && attack.texture === 'smooth' && attack.share < 1) {
    return failure(`--share: expected 1 with --texture smooth, got ${attack.share}`);
  }
  const side = Math.min(height, width);
  if ('patchSize' in attack && attack.patchSize > side) {
    return failure(`--patch-size: expected at most ${side} pixels, got ${attack.patchSize}`);
  }
  return success(undefined);
}
