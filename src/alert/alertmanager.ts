/** Prometheus Alertmanager v2 (its api/v2/openapi.yaml, POST /api/v2/alerts). */
import { describeAlert } from '../alert.ts';
import type { Notification, SinkOf, SinkRequest } from './sink.ts';

/** An alert without an end is dropped after five minutes, so one is always given: far off while it is open. */
const OPEN_MS = 7 * 24 * 3_600_000;

/** Opens the alert of a key or, when it is resolved, ends it. The labels, which identify it, follow from the key. */
export function alertmanagerRequest(sink: SinkOf<'alertmanager'>, { event, at, alert }: Notification): SinkRequest {
  const { kind } = alert.alert;
  const body = [
    {
      labels: {
        alertname: `TriggerGuard${kind.replaceAll(/(?:^|-)(\w)/g, (_, letter: string) => letter.toUpperCase())}`,
        service: 'trigger-guard',
        severity: alert.severity,
        kind,
        key: alert.key,
        ...(alert.alert.release !== null && { release: alert.alert.release }),
      },
      annotations: { summary: describeAlert(alert.alert), alert: String(alert.id) },
      startsAt: alert.firstSeen,
      endsAt: event === 'resolved' ? at : new Date(Date.parse(at) + OPEN_MS).toISOString(),
    },
  ];
  const headers: Record<string, string> = sink.token === undefined ? {} : { authorization: `Bearer ${sink.token}` };
  return { url: `${sink.url.replace(/\/+$/, '')}/api/v2/alerts`, headers, body: JSON.stringify(body) };
}
