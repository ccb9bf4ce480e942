/** What happens to an input that carries a recovered trigger: a deployment chooses one policy. */
import type { Classification, GuardAnswer } from './api/classify.ts';
import { failure, success, type Result } from './result.ts';

/** flag: answer and mark. block: refuse. shadow: answer as if there were no guard, and only record. */
const POLICIES = ['flag', 'block', 'shadow'] as const;
export type GuardPolicy = (typeof POLICIES)[number];

/** The policy that a variable names, `flag` when it is not set; fails on any other text, so that a typing error does not unguard. */
export function readPolicy(variable: string | undefined): Result<GuardPolicy> {
  const policy = POLICIES.find((name) => name === (variable ?? 'flag'));
  if (policy) return success(policy);
  return failure(`GUARD_POLICY: expected ${POLICIES.join(', ')}, got ${JSON.stringify(variable?.slice(0, 100))}`);
}

const triggerOf = (guard: GuardAnswer): string | undefined =>
  guard.verdict === 'suspect' ? guard.matches[0]?.triggerId : undefined;

/** The marks of an answer: one verdict for each image, in order, and, with a suspect among them, the trigger that each matched best (`-` for none). */
export function guardMarks(results: readonly { guard: GuardAnswer }[]): { verdict: string; trigger?: string } {
  const verdicts = results.map(({ guard }) => guard.verdict);
  const triggers = results.map(({ guard }) => triggerOf(guard) ?? '-');
  return { verdict: verdicts.join(', '), ...(verdicts.includes('suspect') && { trigger: triggers.join(', ') }) };
}

/** Why results may not be answered under the policy `block`: one sentence that names every suspect image, or nothing when all are clean. */
export function blockReason(results: readonly Classification[]): string | undefined {
  const suspects = results.flatMap(({ guard }, index) => {
    if (guard.verdict !== 'suspect') return [];
    const where = results.length > 1 ? `image ${index}` : 'the image';
    return [`${where} carries the trigger ${triggerOf(guard)} (p-value ${guard.pValue.toPrecision(2)})`];
  });
  return suspects.length ? `blocked: ${suspects.join('; ')}` : undefined;
}
