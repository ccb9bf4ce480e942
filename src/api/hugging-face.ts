/** The image-classification task of Hugging Face's inference API: one file, or base64 with parameters, to `[{ label, score }]`. */
import * as z from 'zod';
import type { Routes } from './route.ts';
import { modelParams } from './open-inference.ts';

const DEFAULT_TOP_K = 5;

export const hfRequest = z.object({
  inputs: z.string().describe('a PNG or JPEG file in base64'),
  parameters: z
    .object({
      top_k: z.int().min(1).max(1000).nullish(),
      function_to_apply: z.enum(['sigmoid', 'softmax', 'none']).nullish(),
    })
    .nullish(),
});
export const hfResponse = z.array(z.strictObject({ label: z.string(), score: z.number() }));

export type HfParameters = z.infer<typeof hfRequest>['parameters'];

/** The labels with the highest scores, 5 unless `top_k` says otherwise, after the function that was asked for (softmax unless said). */
export function hfAnswer(
  { scores, logits }: { scores: readonly number[]; logits: readonly number[] },
  labelNames: readonly string[],
  parameters: HfParameters,
): z.infer<typeof hfResponse> {
  const apply = parameters?.function_to_apply ?? 'softmax';
  const sigmoids = (): number[] => logits.map((logit) => 1 / (1 + Math.exp(-logit)));
  const applied = apply === 'softmax' ? scores : apply === 'none' ? logits : sigmoids();
  return applied
    .map((score, label) => ({ label: labelNames[label]!, score }))
    .sort((a, b) => b.score - a.score)
    .slice(0, parameters?.top_k ?? DEFAULT_TOP_K);
}

export const huggingFaceRoutes = {
  hfClassify: {
    method: 'post',
    path: '/hf-inference/models/{model}',
    params: modelParams,
    summary: 'Hugging Face image classification: a PNG or JPEG, or JSON with base64 and parameters',
    roles: ['classify'],
    request: { 'application/octet-stream': 'binary', 'application/json': hfRequest },
    status: 200,
    response: hfResponse,
    guarded: true,
    plainErrors: true,
    errors: [400, 401, 403, 404, 413, 415, 422, 429, 500, 503],
  },
} as const satisfies Routes;
