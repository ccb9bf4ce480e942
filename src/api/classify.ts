/** Classification over HTTP: images in, labels and verdicts out. */
import * as z from 'zod';
import { digestSchema, type Routes } from './route.ts';

export const BATCH_LIMIT = 32;

const label = z.int().min(0);

/** Checked by `imageFromJson` and only described here: zod would collect an issue for each of a million wrong numbers. */
const pixels = z.unknown().meta({
  description: 'pixels [H][W][C], numbers in 0..255',
  type: 'array',
  items: { type: 'array', items: { type: 'array', items: { type: 'number', minimum: 0, maximum: 255 } } },
});

export const classifyRequest = z.strictObject({ pixels });
const image = z.unknown().meta({
  description: 'an encoded image, or pixels [H][W][C], numbers in 0..255',
  anyOf: [{ type: 'object', properties: { b64: { type: 'string' } }, required: ['b64'] }, { type: 'array' }],
});
export const batchRequest = z.strictObject({ images: z.array(image).min(1).max(BATCH_LIMIT) });

/** `top_k`: the labels with the highest scores instead of all scores. */
export const classifyQuery = z.strictObject({ top_k: z.coerce.number().int().min(1).max(1000).optional() });

const match = z.strictObject({
  triggerId: z.string(),
  targetLabel: label,
  targetLabelName: z.string(),
  pValue: z.number(),
  score: z.number(),
});

/** `off` only appears where the guard is switched off to measure its cost. `evidence`: what the quarantined victim would have answered. */
const guard = z.union([
  z.strictObject({
    verdict: z.enum(['clean', 'suspect']),
    pValue: z.number(),
    threshold: z.number(),
    matches: z.array(match),
    evidence: z
      .strictObject({ victimLabel: label, victimLabelName: z.string(), victimScores: z.array(z.number()) })
      .optional(),
  }),
  z.strictObject({ verdict: z.literal('off') }),
]);

const scoredLabel = z.strictObject({ label, labelName: z.string(), score: z.number() });

const classification = z.strictObject({
  label,
  labelName: z.string(),
  scores: z.array(z.number()).optional().describe('softmax probabilities [K]; absent with top_k'),
  top: z.array(scoredLabel).optional().describe('with top_k: the labels with the highest scores, highest first'),
  guard: guard.optional().describe('absent where the policy is shadow'),
});
export const classifyResponse = classification.extend({ release: digestSchema });
export const batchResponse = z.strictObject({ release: digestSchema, results: z.array(classification) });

export const classifyRoutes = {
  classify: {
    method: 'post',
    path: '/v1/classify',
    summary: 'Classify one image',
    roles: ['classify'],
    query: classifyQuery,
    request: { 'image/png': 'binary', 'image/jpeg': 'binary', 'application/json': classifyRequest },
    status: 200,
    response: classifyResponse,
    guarded: true,
    errors: [400, 401, 403, 413, 415, 422, 500, 503],
  },
  classifyBatch: {
    method: 'post',
    path: '/v1/classify/batch',
    summary: `Classify up to ${BATCH_LIMIT} images`,
    roles: ['classify'],
    query: classifyQuery,
    request: { 'application/json': batchRequest },
    status: 200,
    response: batchResponse,
    guarded: true,
    errors: [400, 401, 403, 413, 415, 422, 500, 503],
  },
} as const satisfies Routes;

export type GuardAnswer = z.infer<typeof guard>;

/** What inference says of one image: `scores` are softmax probabilities [K] of `logits` [K]. */
export type Classification = {
  label: number;
  labelName: string;
  scores: readonly number[];
  logits: readonly number[];
  guard: GuardAnswer;
};

/** The `count` highest of `scores` [K], highest first; of equal ones the lower label first. */
export function topLabels(scores: readonly number[], labelNames: readonly string[], count: number) {
  return scores
    .map((score, label) => ({ label, labelName: labelNames[label]!, score }))
    .sort((a, b) => b.score - a.score)
    .slice(0, count);
}
