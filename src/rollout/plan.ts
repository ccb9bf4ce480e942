/** The plan of a rollout: in which steps a release gets its clients, and what each step asks before the next. */
import * as z from 'zod';

const DAY_SECONDS = 86_400;

/**
 * One step: `canaryPercent` of the clients get the canary, at 0 none (shadow: it only runs beside stable). The step lasts at least
 * `holdSeconds` and `minRequests` (in shadow: comparisons); what is undecided after `deadlineSeconds` is paused.
 */
const planStep = z.strictObject({
  canaryPercent: z.number().min(0).max(100),
  holdSeconds: z
    .int()
    .min(0)
    .max(7 * DAY_SECONDS),
  minRequests: z.int().min(1).max(10_000_000),
  deadlineSeconds: z
    .int()
    .min(1)
    .max(14 * DAY_SECONDS),
});
export type PlanStep = z.infer<typeof planStep>;

/** After the last step the canary becomes stable. */
export const planSchema = z
  .array(planStep)
  .min(1)
  .max(20)
  .refine(
    (steps) => steps.every((step, index) => index === 0 || step.canaryPercent > steps[index - 1]!.canaryPercent),
    {
      error: 'expected steps whose canaryPercent rises',
    },
  )
  .refine((steps) => steps.every((step) => step.deadlineSeconds >= step.holdSeconds), {
    error: 'expected steps whose deadlineSeconds is not before their holdSeconds',
  })
  .readonly();
export type Plan = z.infer<typeof planSchema>;

const usual = { holdSeconds: 300, minRequests: 200, deadlineSeconds: 3600 };

/** The plan of those who name none: 5 %, 25 %, 50 % of the clients, then all. */
export const DEFAULT_PLAN: Plan = [5, 25, 50].map((canaryPercent) => ({ canaryPercent, ...usual }));
