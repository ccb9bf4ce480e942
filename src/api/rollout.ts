/** The rollout over HTTP: what serves and how it does, starting a release, and operating what runs. */
import * as z from 'zod';
import { countsSchema } from '../rollout/health.ts';
import { planSchema } from '../rollout/plan.ts';
import { operations } from '../rollout/rollout.ts';
import { rolloutSchema } from '../rollout/state.ts';
import { digestSchema, type Routes } from './route.ts';

const reason = z.string().max(200).default('');
/** The request is refused with 409 when the rollout has changed since this revision. */
const expectedRevision = z.int().min(0).optional();

/** With `canaryPercent: 100` the release serves everybody at once, else step by step as planned. */
export const rolloutRequest = z
  .strictObject({
    digest: digestSchema,
    canaryPercent: z.literal(100).optional(),
    plan: planSchema.optional(),
    reason,
    expectedRevision,
  })
  .refine(({ canaryPercent, plan }) => canaryPercent === undefined || plan === undefined, {
    error: 'expected canaryPercent or a plan, got both',
  });

export const operationRequest = z.strictObject({ operation: z.enum(operations), reason, expectedRevision });

/** `phase` is where the latest change left the rollout. */
export const rolloutResponse = rolloutSchema.omit({ version: true, untold: true }).extend({
  phase: z.enum(['none', 'running', 'paused', 'activated', 'promoted', 'rolled-back', 'aborted', 'undone']),
});

/** Counts since a release first answered here, and a minute's counts each, oldest first, of the minutes asked for. */
export const healthResponse = z.strictObject({
  releases: z.array(z.strictObject({ digest: digestSchema, firstSeen: z.iso.datetime(), totals: countsSchema })),
  series: z.array(z.strictObject({ minute: z.iso.datetime(), digest: digestSchema, counts: countsSchema })),
});

export const healthQuery = z.strictObject({ minutes: z.coerce.number().int().min(1).max(1440).default(60) });

export const rolloutRoutes = {
  postRollout: {
    method: 'post',
    path: '/v1/rollouts',
    summary: 'Start the rollout of a stored release, or make it serve at once',
    roles: ['publish', 'operate'],
    request: { 'application/json': rolloutRequest },
    status: 200,
    response: rolloutResponse,
    errors: [400, 401, 403, 404, 409, 413, 415, 422],
  },
  getRollout: {
    method: 'get',
    path: '/v1/rollouts',
    summary: 'What serves, the rollout that runs, and the latest changes, oldest first',
    roles: ['publish', 'operate'],
    status: 200,
    response: rolloutResponse,
    errors: [401, 403],
  },
  operateRollout: {
    method: 'post',
    path: '/v1/rollouts/operations',
    summary: 'Pause, resume, promote, abort or roll back the rollout that runs, or undo the latest change',
    roles: ['operate'],
    request: { 'application/json': operationRequest },
    status: 200,
    response: rolloutResponse,
    errors: [400, 401, 403, 409, 413, 415, 422],
  },
  getHealth: {
    method: 'get',
    path: '/v1/health',
    summary: 'What the releases did: totals, and counts a minute',
    roles: ['operate'],
    query: healthQuery,
    status: 200,
    response: healthResponse,
    errors: [400, 401, 403],
  },
} as const satisfies Routes;
