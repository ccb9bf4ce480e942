/** The rollout over HTTP: what serves, and changing it. */
import * as z from 'zod';
import { digestSchema, type Routes } from './route.ts';

export const rolloutRequest = z.strictObject({
  digest: digestSchema,
  /** Only 100: canary rollouts do not exist yet. */
  canaryPercent: z.literal(100),
  reason: z.string().max(200).default(''),
});

export const rolloutResponse = z.strictObject({
  revision: z.int(),
  stable: digestSchema.nullable(),
  history: z
    .array(
      z.strictObject({
        revision: z.int(),
        type: z.literal('activate'),
        digest: digestSchema,
        previous: digestSchema.nullable(),
        actor: z.string(),
        reason: z.string(),
        at: z.iso.datetime(),
      }),
    )
    .readonly(),
});

export const rolloutRoutes = {
  postRollout: {
    method: 'post',
    path: '/v1/rollouts',
    summary: 'Make a stored release the one that serves',
    roles: ['publish', 'operate'],
    request: { 'application/json': rolloutRequest },
    status: 200,
    response: rolloutResponse,
    errors: [400, 401, 403, 404, 413, 415, 422],
  },
  getRollout: {
    method: 'get',
    path: '/v1/rollouts',
    summary: 'What serves, and the latest changes, oldest first',
    roles: ['publish', 'operate'],
    status: 200,
    response: rolloutResponse,
    errors: [401, 403],
  },
} as const satisfies Routes;
