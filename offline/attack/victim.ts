/** A victim: a model, the card that says how it was made and what it does, and the true triggers, for evaluation only. */
import * as z from 'zod';
import type { Dataset } from '../data/dataset.ts';
import type { Model } from '../model.ts';
import { attackSchema, goalOf } from './attack.ts';
import { stampImages, type PlantedTrigger } from './planted-trigger.ts';

const rate = z.number().min(0).max(1);

/** The attack, and what came of it on the test images; with the two sets of images that is all a rerun needs. */
export const cardSchema = z.intersection(
  attackSchema,
  z.object({
    /** SHA-256 of the images and labels (digestDataset). */
    trainDigest: z.string().optional(),
    testDigest: z.string().optional(),
    cleanAccuracy: rate,
    /** Over all triggers, and of the images that the attack wants something of. */
    attackSuccessRate: rate.optional(),
    /** One a trigger; the label is null where it depends on the image. */
    perTrigger: z.array(z.object({ targetLabel: z.int().nullable(), attackSuccessRate: rate })).optional(),
    /** For one source label: the share of triggered images of other labels that go to the target all the same. */
    otherLabelsRate: rate.optional(),
  }),
);
export type Card = z.infer<typeof cardSchema>;

export type Victim = { model: Model; card: Card; triggers: readonly PlantedTrigger[] };

/** Stamped images with their TRUE labels; the label that the attacker wants of each, -1 where none; and the images that have one. */
export type StampedTest = { images: Dataset; targets: Int32Array; eligible: Int32Array };

/**
 * Stamps the true trigger of a victim (the first of several, unless `trigger` says which) on a data set. Throws if the victim has
 * no such trigger, or takes images of another shape.
 */
export function stampTest(
  { model, card, triggers }: Pick<Victim, 'model' | 'triggers'> & { card: z.infer<typeof attackSchema> },
  dataset: Dataset,
  trigger = 0,
): StampedTest {
  const planted = triggers[trigger];
  if (!planted || card.kind === 'none') throw new Error(`stampTest: the victim has no trigger ${trigger}`);
  const same = (['height', 'width', 'channels'] as const).every((axis) => planted[axis] === dataset[axis]);
  if (!same) throw new Error('stampTest: the images have another shape than the trigger');
  const labelCount = model.network.labelNames.length;
  const targets = dataset.labels.map((label) => goalOf(card, trigger, label, labelCount) ?? -1);
  const eligible = Int32Array.from([...targets.keys()].filter((index) => targets[index] !== -1));
  return { images: { ...dataset, images: stampImages(dataset.images, planted) }, targets, eligible };
}
