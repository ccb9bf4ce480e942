/** Alerts: what an operator must hear about, how bad it is, and which repeats count as one. */
import * as z from 'zod';

const label = z.int().min(0);
const rate = z.number().min(0).max(1);
const rolloutChange = { release: z.string(), revision: z.int().min(0), reason: z.string() };

/** Why a release is refused: `content` is whatever it holds that does not fit together or does not run. */
export const REFUSAL_REASONS = ['signature', 'digest', 'scope', 'expiry', 'missing', 'content'] as const;
export type RefusalReason = (typeof REFUSAL_REASONS)[number];

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
    requestId: z.string(),
    clientKeyHash: z.string(),
  }),
  /** More suspects among the requests since `windowStart` than false positives explain. */
  z.strictObject({
    kind: z.literal('match-rate-surge'),
    release: z.string(),
    rate,
    expectedRate: rate,
    sampleSize: z.int().min(1),
    windowStart: z.iso.datetime(),
  }),
  /** The rollout of `release` stopped where it was, and waits for a person. */
  z.strictObject({ kind: z.literal('rollout-paused'), ...rolloutChange }),
  /** `release` was taken back, by the rollout itself or by a person. */
  z.strictObject({ kind: z.literal('rollout-rolled-back'), ...rolloutChange }),
  /** The guard could not judge, so the request was refused. */
  z.strictObject({ kind: z.literal('guard-failure'), release: z.string(), message: z.string() }),
  /** The rollout names a release that this worker does not serve. */
  z.strictObject({
    kind: z.literal('release-refused'),
    release: z.string(),
    reason: z.enum(REFUSAL_REASONS),
    message: z.string(),
  }),
  /** The outbox of a sink was full, and `dropped` of its oldest notifications went unsent. */
  z.strictObject({
    kind: z.literal('notifications-dropped'),
    release: z.null(),
    sink: z.string(),
    dropped: z.int().min(1),
  }),
]);

export type Alert = z.infer<typeof alertSchema>;
export type AlertKind = Alert['kind'];
export type Severity = 'warning' | 'critical';

/** Every kind of alert. */
export const ALERT_KINDS = [
  'trigger-match',
  'match-rate-surge',
  'rollout-paused',
  'rollout-rolled-back',
  'guard-failure',
  'release-refused',
  'notifications-dropped',
] as const satisfies readonly AlertKind[];

/** An alert as it is kept: `count` repeats between two instants (milliseconds since 1970), with the latest one's details. */
export type AlertRecord = { alert: Alert; count: number; firstSeenMs: number; lastSeenMs: number };

/** Repeats within this time after the first count on the same record; later ones open a new record. */
export const COOL_DOWN_MS = 10 * 60_000;

/** `critical` where the backdoor would have fired, or where the service itself is hurt. */
export function severity(alert: Alert): Severity {
  if (alert.kind === 'rollout-paused') return 'warning';
  return alert.kind === 'trigger-match' && alert.victimLabel !== alert.targetLabel ? 'warning' : 'critical';
}

type RolloutAlert = Extract<Alert, { kind: 'rollout-paused' | 'rollout-rolled-back' }>;
/** Whether the alert tells of a change of the rollout, which happens once and stays until a person says that it is over. */
export const isRolloutChange = (alert: Alert): alert is RolloutAlert =>
  alert.kind === 'rollout-paused' || alert.kind === 'rollout-rolled-back';

/** Alerts with the same key are repeats of each other; a change of the rollout repeats only itself. */
export function dedupeKey(alert: Alert): string {
  const parts: (string | number)[] = [alert.kind, alert.kind === 'notifications-dropped' ? alert.sink : alert.release];
  if (alert.kind === 'trigger-match') parts.push(alert.triggerId, severity(alert));
  if (alert.kind === 'release-refused') parts.push(alert.reason);
  if (isRolloutChange(alert)) parts.push(alert.revision);
  return parts.join('/');
}

/**
 * The record after one more alert at `atMs`: `previous` (the latest one with the same key) counted up, or a new one. A change of the rollout
 * happens once, so telling it again leaves its record as it is.
 */
export function recordAlert(previous: AlertRecord | undefined, alert: Alert, atMs: number): AlertRecord {
  if (previous && isRolloutChange(alert)) return previous;
  if (!previous || atMs - previous.firstSeenMs >= COOL_DOWN_MS) {
    return { alert, count: 1, firstSeenMs: atMs, lastSeenMs: atMs };
  }
  return { ...previous, alert, count: previous.count + 1, lastSeenMs: Math.max(previous.lastSeenMs, atMs) };
}

/** One sentence for people. */
export function describeAlert(alert: Alert): string {
  switch (alert.kind) {
    case 'trigger-match': {
      const { triggerId, targetLabel, label, victimLabel, pValue } = alert;
      return `An input carries trigger ${triggerId} (target label ${targetLabel}, p = ${pValue.toPrecision(2)}): answered ${label}, the victim would have answered ${victimLabel}.`;
    }
    case 'match-rate-surge':
      return `${percent(alert.rate)} of ${alert.sampleSize} requests since ${alert.windowStart} were suspect; false positives explain ${percent(alert.expectedRate)}.`;
    case 'rollout-paused':
      return `The rollout of ${alert.release} paused at revision ${alert.revision}: ${alert.reason}`;
    case 'rollout-rolled-back':
      return `Release ${alert.release} was rolled back at revision ${alert.revision}: ${alert.reason}`;
    case 'guard-failure':
      return `The guard of ${alert.release} could not judge, so no label was given: ${alert.message}`;
    case 'release-refused':
      return `Release ${alert.release} is refused (${alert.reason}): ${alert.message}`;
    default:
      return `The outbox of sink ${alert.sink} is full: ${alert.dropped} notifications went unsent.`;
  }
}

const percent = (rate: number): string => `${(100 * rate).toFixed(2)} %`;
