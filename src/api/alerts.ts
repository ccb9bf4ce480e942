/** Alerts over HTTP. */
import * as z from 'zod';
import { ALERT_KINDS, alertSchema } from '../alert.ts';
import { statusResponse, type Routes } from './route.ts';

const id = z.int().min(1);
const instant = z.iso.datetime();
const kind = z.enum(ALERT_KINDS);
const severity = z.enum(['warning', 'critical']);
const status = z.enum(['open', 'acknowledged', 'resolved']);
const key = z.string().min(1).max(300);

export const alertsQuery = z.strictObject({
  limit: z.coerce.number().int().min(1).max(200).default(50),
  cursor: z.coerce.number().int().min(1).optional(),
  kind: kind.optional(),
  severity: severity.optional(),
  status: status.optional(),
});

/** `silenced`: no sink was told. `acknowledged`: who has it, since when. `image`: which request's image is kept, until when. */
export const alertView = z.strictObject({
  id,
  key,
  severity,
  status,
  silenced: z.boolean(),
  count: z.int().min(1),
  firstSeen: instant,
  lastSeen: instant,
  acknowledged: z.strictObject({ by: z.string(), at: instant }).nullable(),
  resolvedAt: instant.nullable(),
  image: z.strictObject({ requestId: z.string(), expiresAt: instant }).nullable(),
  alert: alertSchema,
});

/** `cursor`: where the next, older page begins; null on the last page. */
export const alertsResponse = z.strictObject({ alerts: z.array(alertView), cursor: z.int().nullable() });

export const SILENCE_LIMIT = 200;

/** What a silence covers: every alert of one kind, or those with one key. */
const scope = z.union([z.strictObject({ kind }), z.strictObject({ key })]);
export const silenceRequest = z.strictObject({
  scope,
  minutes: z
    .int()
    .min(1)
    .max(30 * 24 * 60),
  reason: z.string().max(500).default(''),
});
export const silenceView = z.strictObject({
  id,
  scope,
  until: instant,
  by: z.string(),
  createdAt: instant,
  reason: z.string(),
});
export const silencesResponse = z.strictObject({ silences: z.array(silenceView) });

/** The outbox of one sink. `attempts`: how often the oldest notification failed. */
export const sinkView = z.strictObject({
  name: z.string(),
  type: z.string(),
  queued: z.int().min(0),
  attempts: z.int().min(0),
  nextAttemptAt: instant.nullable(),
  lastSuccessAt: instant.nullable(),
  lastError: z.string().nullable(),
});
export const sinksResponse = z.strictObject({ sinks: z.array(sinkView) });

/** What a live feed sends, a JSON text each. */
export const liveMessage = z.strictObject({
  event: z.enum(['opened', 'repeated', 'acknowledged', 'resolved']),
  alert: alertView,
});

const operated = { roles: ['operate'], status: 200 } as const;
const idParameter = z.strictObject({ id: z.coerce.number().int().min(1) });

export const alertRoutes = {
  listAlerts: {
    ...operated,
    method: 'get',
    path: '/v1/alerts',
    summary: 'The alerts, newest first',
    query: alertsQuery,
    response: alertsResponse,
    errors: [400, 401, 403],
  },
  liveAlerts: {
    ...operated,
    method: 'get',
    path: '/v1/alerts/live',
    summary:
      'The alerts as they come, over a WebSocket; browsers offer the protocols trigger-guard and bearer.<token in base64url>',
    status: 101,
    response: liveMessage,
    errors: [401, 403, 426, 503],
  },
  acknowledgeAlert: {
    ...operated,
    method: 'post',
    path: '/v1/alerts/{id}/acknowledge',
    summary: 'Say that somebody takes care of an alert; sinks hear it once',
    params: idParameter,
    response: alertView,
    errors: [401, 403, 404, 409],
  },
  resolveAlert: {
    ...operated,
    method: 'post',
    path: '/v1/alerts/{id}/resolve',
    summary: 'Say that an alert, and older ones with its key, are over; sinks hear it once',
    params: idParameter,
    response: alertView,
    errors: [401, 403, 404],
  },
  alertImage: {
    ...operated,
    method: 'get',
    path: '/v1/alerts/{id}/image',
    summary: 'The kept image of an alert, as the network saw it',
    params: idParameter,
    response: 'binary',
    responseType: 'image/png',
    errors: [401, 403, 404],
  },
  silenceAlerts: {
    ...operated,
    method: 'post',
    path: '/v1/silences',
    summary: 'Tell the sinks nothing of new alerts of a kind or with a key, for some minutes',
    request: { 'application/json': silenceRequest },
    status: 201,
    response: silenceView,
    errors: [400, 401, 403, 409, 413, 415, 422],
  },
  listSilences: {
    ...operated,
    method: 'get',
    path: '/v1/silences',
    summary: 'The silences that hold',
    response: silencesResponse,
    errors: [401, 403],
  },
  endSilence: {
    ...operated,
    method: 'delete',
    path: '/v1/silences/{id}',
    summary: 'End a silence now',
    params: idParameter,
    response: statusResponse,
    errors: [401, 403, 404],
  },
  listSinks: {
    ...operated,
    method: 'get',
    path: '/v1/sinks',
    summary: 'The sinks of alerts and what waits for each',
    response: sinksResponse,
    errors: [401, 403],
  },
  metrics: {
    method: 'get',
    path: '/metrics',
    summary: 'Counters in the text format of Prometheus',
    roles: ['metrics', 'operate'],
    status: 200,
    response: 'binary',
    responseType: 'text/plain',
    errors: [401, 403],
  },
} as const satisfies Routes;

export type AlertView = z.infer<typeof alertView>;
export type AlertStatus = AlertView['status'];
export type AlertsQuery = z.infer<typeof alertsQuery>;
export type SilenceRequest = z.infer<typeof silenceRequest>;
export type Silence = z.infer<typeof silenceView>;
export type SinkView = z.infer<typeof sinkView>;
export type LiveMessage = z.infer<typeof liveMessage>;
