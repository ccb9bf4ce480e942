/** Slack incoming webhooks (https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks). */
import { describeAlert } from '../alert.ts';
import type { Notification, SinkOf, SinkRequest } from './sink.ts';

/** Slack's three control characters, so that nothing in an alert becomes a link or a mention. */
const escape = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

/** One message; the `text` is what notifications show. */
export function slackRequest(sink: SinkOf<'slack'>, { event, alert }: Notification): SinkRequest {
  const { severity, count, lastSeen, acknowledged } = alert;
  const state =
    event === 'opened'
      ? severity
      : acknowledged && event === 'acknowledged'
        ? `acknowledged by ${acknowledged.by}`
        : event;
  const title = escape(`[${state}] ${alert.alert.kind}`);
  const sentence = escape(describeAlert(alert.alert));
  const details = escape(`alert ${alert.id}, seen ${count} times, last at ${lastSeen}`);
  const blocks = [
    { type: 'section', text: { type: 'mrkdwn', text: `*${title}*\n${sentence}`.slice(0, 3000) } },
    { type: 'context', elements: [{ type: 'mrkdwn', text: details }] },
  ];
  return { url: sink.url, headers: {}, body: JSON.stringify({ text: `${title}: ${sentence}`, blocks }) };
}
