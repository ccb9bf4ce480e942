/** Alerts: what an operator must hear about, how bad it is, and which repeats count as one. */
import * as z from 'zod';

const label = z.int().min(0);

export const alertSchema = z.discriminatedUnion('kind', [
  /** An input carried a recovered trigger; `label` is what was answered, `victimLabel` what the victim would have answered. */
  z.strictObject({
    kind: z.literal('trigger-match'),
    release: z.string(),
    triggerId: z.string(),
    targetLabel: label,
    label,
    victimLabel: label,
    pValue: z.number(),
    score: z.number(),
  }),
  /** The guard could not judge, so the request was refused. */
  z.strictObject({ kind: z.literal('guard-failure'), release: z.string(), message: z.string() }),
  /** The rollout names a release that this worker does not serve. */
  z.strictObject({ kind: z.literal('release-refused'), release: z.string(), message: z.string() }),
]);

export type Alert = z.infer<typeof alertSchema>;

/** An alert as it is kept: `count` repeats between two instants (milliseconds since 1970), with the latest one's details. */
export type AlertRecord = { alert: Alert; count: number; firstSeenMs: number; lastSeenMs: number };

/** Repeats within this time after the first count on the same record; later ones open a new record. */
export const COOL_DOWN_MS = 10 * 60_000;

/** `critical` where the backdoor would have fired, or where the service itself is hurt. */
export function severity(alert: Alert): 'warning' | 'critical' {
  return alert.kind === 'trigger-match' && alert.victimLabel !== alert.targetLabel ? 'warning' : 'critical';
}

/** Alerts with the same key are repeats of each other. */
export function dedupeKey(alert: Alert): string {
  const parts = [alert.kind, alert.release];
  if (alert.kind === 'trigger-match') parts.push(alert.triggerId, severity(alert));
  return parts.join('/');
}

/** The record after one more alert at `atMs`: `previous` (the latest one with the same key) counted up, or a new one. */
export function recordAlert(previous: AlertRecord | undefined, alert: Alert, atMs: number): AlertRecord {
  if (!previous || atMs - previous.firstSeenMs >= COOL_DOWN_MS) {
    return { alert, count: 1, firstSeenMs: atMs, lastSeenMs: atMs };
  }
  return { ...previous, alert, count: previous.count + 1, lastSeenMs: Math.max(previous.lastSeenMs, atMs) };
}
