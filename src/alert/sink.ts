/** Where alerts go: the configuration of sinks, and the one request that tells a sink of one alert. */
import * as z from 'zod';
import type { AlertView } from '../api/alerts.ts';
import { failure, success, type Result } from '../result.ts';
import { alertmanagerRequest } from './alertmanager.ts';
import { ocsfRequest } from './ocsf.ts';
import { pagerDutyRequest } from './pagerduty.ts';
import { slackRequest } from './slack.ts';
import { webhookRequest } from './webhook.ts';

export const SINK_LIMIT = 10;

const url = z.union(
  [
    z.url({ protocol: /^https$/ }).max(2000),
    z.url({ protocol: /^http$/, hostname: /^(localhost|127\.0\.0\.1|\[::1\])$/ }).max(2000),
  ],
  'expected https, or http to this machine',
);
const secret = z.string().min(1).max(500);
const shared = {
  name: z.string().regex(/^[a-z0-9-]{1,40}$/),
  minimumSeverity: z.enum(['warning', 'critical']).default('warning'),
};

const sinkSchema = z.discriminatedUnion('type', [
  /** Standard Webhooks; `secret` is `whsec_` and base64 of 24 to 64 bytes. */
  z.strictObject({
    ...shared,
    type: z.literal('webhook'),
    url,
    secret: z.string().regex(/^whsec_[A-Za-z0-9+/]{32,88}={0,2}$/),
  }),
  /** A Slack incoming webhook, or one that speaks its language (Mattermost, Rocket.Chat). */
  z.strictObject({ ...shared, type: z.literal('slack'), url }),
  /** PagerDuty Events v2. */
  z.strictObject({
    ...shared,
    type: z.literal('pagerduty'),
    url: url.default('https://events.pagerduty.com/v2/enqueue'),
    routingKey: secret,
  }),
  /** Prometheus Alertmanager v2; `url` is where its `/api/v2` begins. */
  z.strictObject({ ...shared, type: z.literal('alertmanager'), url, token: secret.optional() }),
  /** OCSF Detection Findings as JSON. */
  z.strictObject({ ...shared, type: z.literal('ocsf'), url, token: secret.optional() }),
]);

const sinksSchema = z
  .array(sinkSchema)
  .max(SINK_LIMIT)
  .refine((sinks) => new Set(sinks.map(({ name }) => name)).size === sinks.length, 'expected names that differ');

export type Sink = z.infer<typeof sinkSchema>;
export type SinkOf<Type extends Sink['type']> = Extract<Sink, { type: Type }>;

/** What a sink is told: `id` stays the same however often it is tried. `at` is an instant as ISO 8601. */
export type Notification = { id: string; event: 'opened' | 'acknowledged' | 'resolved'; at: string; alert: AlertView };

/** The body is JSON. */
export type SinkRequest = { url: string; headers: Record<string, string>; body: string };

/** The part of `crypto.subtle` that signs. */
export type Hmac = (key: Uint8Array, message: Uint8Array) => Promise<Uint8Array>;

/** Reads the secret ALERT_SINKS, a JSON list; '' is none. The error names fields, never values. */
export function parseSinks(text: string): Result<Sink[]> {
  if (text.trim() === '') return success([]);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return failure('ALERT_SINKS: expected a JSON list');
  }
  const parsed = sinksSchema.safeParse(json);
  if (parsed.success) return success(parsed.data);
  const { path, code } = parsed.error.issues[0]!;
  return failure(`ALERT_SINKS: ${path.join('.') || 'list'}: ${code}`);
}

/** Whether the sink wants to hear of what happened to an alert; Alertmanager has no word for an acknowledgement. */
export const wants = (sink: Sink, event: Notification['event'], alert: AlertView): boolean =>
  (sink.minimumSeverity === 'warning' || alert.severity === 'critical') &&
  !(sink.type === 'alertmanager' && event === 'acknowledged');

/** The request that tells the sink, sent at `atMs`. */
export async function sinkRequest(
  sink: Sink,
  notification: Notification,
  atMs: number,
  hmac: Hmac,
): Promise<SinkRequest> {
  switch (sink.type) {
    case 'webhook':
      return webhookRequest(sink, notification, atMs, hmac);
    case 'slack':
      return slackRequest(sink, notification);
    case 'pagerduty':
      return pagerDutyRequest(sink, notification);
    case 'alertmanager':
      return alertmanagerRequest(sink, notification);
    default:
      return ocsfRequest(sink, notification);
  }
}
