/**
 * The fingerprint of a release: what the guard needs to recognise the recovered triggers.
 *
 * `fingerprint.json` holds this schema. `fingerprint.safetensors` holds, in F32:
 *   `calibration/scores` [N]      guard scores of clean images, ascending (the score is the largest probe logit over all triggers)
 *   `<id>/probe/weights` [F]      probe of one trigger on what the guard watches (`guardFeatures`, match.ts), and `<id>/probe/bias` [1]
 *   `<id>/pattern` [H,W,C]        the recovered trigger, for people to look at, and `<id>/mask` [H,W,1] when its kind is `blend`
 */
import * as z from 'zod';

const rate = z.number().min(0).max(1);

export const fingerprintSchema = z.strictObject({
  schemaVersion: z.literal(1),
  /** The false-positive rate asked for, and the score at which it is met on the calibration images. */
  falsePositiveRate: rate,
  threshold: z.number(),
  /** Upper confidence bound of the false-positive rate at the threshold, from `sampleSize` calibration images (Clopper-Pearson). */
  falsePositiveBound: z.strictObject({ upper: rate, confidence: rate, sampleSize: z.int().min(1) }),
  triggers: z
    .array(
      z.strictObject({
        id: z.string().regex(/^[a-z0-9-]{1,64}$/),
        kind: z.enum(['blend', 'additive', 'warp']),
        targetLabel: z.int().min(0),
        /** Success rate of the recovered trigger on held-back clean images, before and after unlearning. */
        victimHitRate: rate,
        purifiedHitRate: rate,
      }),
    )
    .max(64),
});

export type Fingerprint = z.infer<typeof fingerprintSchema>;
