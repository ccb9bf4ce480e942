/** PagerDuty Events API v2 (https://developer.pagerduty.com/docs/send-alert-event): all alerts with one key are one incident. */
import { describeAlert } from '../alert.ts';
import type { Notification, SinkOf, SinkRequest } from './sink.ts';

const ACTIONS = { opened: 'trigger', acknowledged: 'acknowledge', resolved: 'resolve' } as const;
const SUMMARY_LIMIT = 1024;

/** The event that opens, acknowledges or resolves the incident of an alert's key. */
export function pagerDutyRequest(sink: SinkOf<'pagerduty'>, { event, alert }: Notification): SinkRequest {
  const incident = { routing_key: sink.routingKey, event_action: ACTIONS[event], dedup_key: alert.key };
  const payload = {
    summary: describeAlert(alert.alert).slice(0, SUMMARY_LIMIT),
    source: 'trigger-guard',
    severity: alert.severity,
    timestamp: alert.lastSeen,
    class: alert.alert.kind,
    custom_details: { id: alert.id, count: alert.count, firstSeen: alert.firstSeen, ...alert.alert },
  };
  return { url: sink.url, headers: {}, body: JSON.stringify(event === 'opened' ? { ...incident, payload } : incident) };
}
