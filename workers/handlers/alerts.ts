/** Alerts over HTTP. */
import type * as z from 'zod';
import {
  alertsQuery,
  SILENCE_LIMIT,
  silenceRequest,
  type alertsResponse,
  type AlertView,
  type Silence,
  type silencesResponse,
  type sinksResponse,
} from '../../src/api/alerts.ts';
import { BODY_LIMIT_BYTES } from '../../src/api/route.ts';
import { alertsObject } from '../alerts.ts';
import { readImage } from '../alerts/evidence.ts';
import { expectMediaType, firstIssue, parseJson, readBody, Refusal, type Call } from '../http.ts';

/** The id in the path; what is none names nothing. */
function idOf(c: Call): number {
  const id = Number(c.req.param('id'));
  if (!Number.isSafeInteger(id) || id < 1)
    throw new Refusal(404, 'unknown_id', 'id: expected a whole number from 1 on');
  return id;
}

function known<T>(value: T | undefined, id: number): T {
  if (value === undefined) throw new Refusal(404, 'unknown_id', `id: there is no ${id}`);
  return value;
}

/** GET /v1/alerts */
export async function listAlerts(c: Call): Promise<Response> {
  const query = alertsQuery.safeParse(c.req.query());
  if (!query.success) throw new Refusal(400, 'invalid_request', `query: ${firstIssue(query.error)}`);
  const alerts = (await alertsObject(c.env).list(query.data)) as AlertView[];
  const cursor = alerts.length === query.data.limit ? alerts.at(-1)!.id : null;
  return c.json({ alerts, cursor } satisfies z.infer<typeof alertsResponse>);
}

/** GET /v1/alerts/live */
export async function liveAlerts(c: Call): Promise<Response> {
  if (c.req.header('upgrade')?.toLowerCase() !== 'websocket') {
    throw new Refusal(426, 'upgrade_required', 'upgrade: expected websocket', { upgrade: 'websocket' });
  }
  const answer = await alertsObject(c.env).fetch(c.req.raw);
  if (answer.status === 503) throw new Refusal(503, 'too_many_listeners', 'as many listen already as may');
  return answer;
}

/** POST /v1/alerts/{id}/acknowledge */
export async function acknowledgeAlert(c: Call): Promise<Response> {
  const id = idOf(c);
  const alert = known((await alertsObject(c.env).acknowledge(id, c.get('actor'))) as AlertView | undefined, id);
  if (alert.acknowledged === null) throw new Refusal(409, 'resolved', `id: alert ${id} is already over`);
  return c.json(alert);
}

/** POST /v1/alerts/{id}/resolve */
export async function resolveAlert(c: Call): Promise<Response> {
  const id = idOf(c);
  return c.json(known((await alertsObject(c.env).resolve(id)) as AlertView | undefined, id));
}

/** GET /v1/alerts/{id}/image */
export async function alertImage(c: Call): Promise<Response> {
  const id = idOf(c);
  const image = await readImage(c.env, id);
  if (!image) throw new Refusal(404, 'no_image', `id: no image of alert ${id} is kept`);
  return new Response(image.body, {
    headers: { 'content-type': 'image/png', 'content-security-policy': "default-src 'none'" },
  });
}

/** POST /v1/silences */
export async function silenceAlerts(c: Call): Promise<Response> {
  expectMediaType(c.req.raw, ['application/json']);
  const request = parseJson(await readBody(c.req.raw, BODY_LIMIT_BYTES.json), silenceRequest);
  const silence = (await alertsObject(c.env).silence(request, c.get('actor'))) as Silence | undefined;
  if (!silence) throw new Refusal(409, 'too_many_silences', `expected at most ${SILENCE_LIMIT} silences at once`);
  return c.json(silence, 201);
}

/** GET /v1/silences */
export async function listSilences(c: Call): Promise<Response> {
  const silences = (await alertsObject(c.env).silences()) as Silence[];
  return c.json({ silences } satisfies z.infer<typeof silencesResponse>);
}

/** DELETE /v1/silences/{id} */
export async function endSilence(c: Call): Promise<Response> {
  const id = idOf(c);
  if (!(await alertsObject(c.env).endSilence(id))) throw new Refusal(404, 'unknown_id', `id: there is no ${id}`);
  return c.json({ status: 'ended' });
}

/** GET /v1/sinks */
export async function listSinks(c: Call): Promise<Response> {
  const sinks = await alertsObject(c.env).sinks();
  return c.json({ sinks } satisfies z.infer<typeof sinksResponse>);
}
