/** Alerts over HTTP. */
import * as z from 'zod';
import { alertSchema } from '../alert.ts';
import type { Routes } from './route.ts';

export const alertsQuery = z.strictObject({
  limit: z.coerce.number().int().min(1).max(200).default(50),
  cursor: z.coerce.number().int().min(1).optional(),
});

export const alertsResponse = z.strictObject({
  alerts: z.array(
    z.strictObject({
      id: z.int(),
      severity: z.enum(['warning', 'critical']),
      count: z.int(),
      firstSeen: z.iso.datetime(),
      lastSeen: z.iso.datetime(),
      alert: alertSchema,
    }),
  ),
  /** Where the next, older page begins; null on the last page. */
  cursor: z.int().nullable(),
});

export const alertRoutes = {
  listAlerts: {
    method: 'get',
    path: '/v1/alerts',
    summary: 'The alerts, newest first',
    roles: ['operate'],
    query: alertsQuery,
    status: 200,
    response: alertsResponse,
    errors: [400, 401, 403],
  },
} as const satisfies Routes;
