/** OCSF Detection Finding, class 2004 (https://schema.ocsf.io, events/findings/detection_finding.json). */
import { describeAlert } from '../alert.ts';
import type { Notification, SinkOf, SinkRequest } from './sink.ts';

export const OCSF_VERSION = '1.5.0';
const CLASS = 2004;
const ACTIVITIES = { opened: 1, acknowledged: 2, resolved: 3 } as const;
const STATUSES = { open: 1, acknowledged: 2, resolved: 4 } as const;
const SEVERITIES = {
  warning: { severity_id: 3, severity: 'Medium' },
  critical: { severity_id: 5, severity: 'Critical' },
};

/** The finding of an alert, created, updated or closed; times are milliseconds since 1970. */
export function ocsfRequest(sink: SinkOf<'ocsf'>, { id, event, at, alert }: Notification): SinkRequest {
  const activity = ACTIVITIES[event];
  const [firstSeenMs, lastSeenMs] = [Date.parse(alert.firstSeen), Date.parse(alert.lastSeen)];
  const finding = {
    activity_id: activity,
    category_uid: 2,
    class_uid: CLASS,
    type_uid: CLASS * 100 + activity,
    time: Date.parse(at),
    start_time: firstSeenMs,
    end_time: lastSeenMs,
    count: alert.count,
    ...SEVERITIES[alert.severity],
    status_id: STATUSES[alert.status],
    is_alert: event === 'opened',
    message: describeAlert(alert.alert),
    metadata: { version: OCSF_VERSION, uid: id, product: { name: 'Trigger Guard', vendor_name: 'Trigger Guard' } },
    finding_info: {
      uid: `trigger-guard/${alert.id}`,
      title: alert.alert.kind,
      types: [alert.alert.kind],
      created_time: firstSeenMs,
      first_seen_time: firstSeenMs,
      last_seen_time: lastSeenMs,
    },
    evidences: [{ data: alert.alert }],
  };
  const headers: Record<string, string> = sink.token === undefined ? {} : { authorization: `Bearer ${sink.token}` };
  return { url: sink.url, headers: { 'idempotency-key': id, ...headers }, body: JSON.stringify(finding) };
}
