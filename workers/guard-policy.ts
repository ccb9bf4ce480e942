/** The deployment's guard policy between inference and the answer of a face. */
import type { Classification } from '../src/api/classify.ts';
import { blockReason, guardMarks, readPolicy } from '../src/guard-policy.ts';
import { failure, type Result } from '../src/result.ts';
import { Refusal, type Call } from './http.ts';
import { guardedInference } from './inference.ts';
import type { Model } from './model.ts';
import { missingLimit } from './rate-limit.ts';
import { activeModel } from './serving.ts';

/** A classification as it may be shown: without the guard's verdict where the policy is `shadow`. */
export type Shown = Omit<Classification, 'guard'> & { guard: Classification['guard'] | undefined };

/**
 * Classifies `images` [B,H,W,C] in 0..1, B = `count`, and applies the policy: marks the answer with headers, refuses with 422, or
 * hides the verdict. An unknown policy refuses everything.
 */
export function classifyImages(c: Call, model: Model, images: Float32Array, count: number): Shown[] {
  const policy = readPolicy(c.env.GUARD_POLICY);
  if (!policy.ok) throw new Refusal(500, 'misconfigured', policy.error);
  c.header('x-release', model.digest);
  const results = guardedInference(c, model, images, count);
  if (policy.value === 'shadow') return results.map((result) => ({ ...result, guard: undefined }));
  for (const [name, value] of Object.entries(guardMarks(results))) c.header(`x-guard-${name}`, value);
  const reason = policy.value === 'block' ? blockReason(results) : undefined;
  if (reason !== undefined) throw new Refusal(422, 'suspect_input', reason);
  return results;
}

/** The model that answers those who get no canary, or why nobody gets an answer. */
export async function servableModel(c: Call): Promise<Result<Model>> {
  const missing = missingLimit(c.env);
  if (missing) return failure(`the rate limit ${missing} is not bound`);
  const policy = readPolicy(c.env.GUARD_POLICY);
  return policy.ok ? activeModel(c.env, c.executionCtx) : policy;
}
