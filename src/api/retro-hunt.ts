/** Retro-hunts over HTTP: a fingerprint, run over past images. */
import * as z from 'zod';
import { digestSchema, type Routes } from './route.ts';

/** How many clients an answer names, those with the most matches first. */
export const CLIENTS_LIMIT = 100;

const count = z.int().min(0);
const instant = z.iso.datetime().nullable();

export const retroHuntRequest = z.strictObject({ digest: digestSchema });

/**
 * Of the `kept` images those were `judged` that came through the same trunk as the release's; of the others nothing can be said. They
 * go back to `oldest`.
 */
export const retroHuntResponse = z.strictObject({
  release: digestSchema,
  kept: count,
  judged: count,
  notComparable: count,
  oldest: instant,
  matches: count,
  firstMatch: instant,
  lastMatch: instant,
  triggers: z.array(z.strictObject({ triggerId: z.string(), matches: count })),
  clients: z.array(z.strictObject({ clientKeyHash: z.string(), matches: count })).max(CLIENTS_LIMIT),
});

export const retroHuntRoutes = {
  retroHunt: {
    method: 'post',
    path: '/v1/retro-hunts',
    summary: 'Run the fingerprint of a stored release over the kept activations of past images',
    roles: ['operate'],
    request: { 'application/json': retroHuntRequest },
    status: 200,
    response: retroHuntResponse,
    errors: [400, 401, 403, 404, 413, 415, 422],
  },
} as const satisfies Routes;
