/** Alerts over HTTP. */
import type * as z from 'zod';
import { alertsQuery, type alertsResponse } from '../../src/api/alerts.ts';
import { readAlerts } from '../alerts.ts';
import { firstIssue, Refusal, type Call } from '../http.ts';

/** GET /v1/alerts */
export async function listAlerts(c: Call): Promise<Response> {
  const query = alertsQuery.safeParse(c.req.query());
  if (!query.success) throw new Refusal(400, 'invalid_request', `query: ${firstIssue(query.error)}`);
  const body: z.infer<typeof alertsResponse> = await readAlerts(c.env, query.data.limit, query.data.cursor);
  return c.json(body);
}
