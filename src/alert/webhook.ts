/** Standard Webhooks (https://github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md), symmetric signatures. */
import { describeAlert } from '../alert.ts';
import { decodeBase64, encodeBase64, encodeText } from '../release/encoding.ts';
import type { Hmac, Notification, SinkOf, SinkRequest } from './sink.ts';

/** The signed request; `atMs` is when it is sent, which receivers compare with their clock. */
export async function webhookRequest(
  sink: SinkOf<'webhook'>,
  { id, event, at, alert }: Notification,
  atMs: number,
  hmac: Hmac,
): Promise<SinkRequest> {
  const body = JSON.stringify({
    type: `alert.${event}`,
    timestamp: at,
    data: { summary: describeAlert(alert.alert), ...alert },
  });
  const timestamp = Math.floor(atMs / 1000);
  const key = decodeBase64(sink.secret.replace(/^whsec_/, ''));
  if (!key.ok) throw new Error('webhook: the secret is not base64');
  const signature = await hmac(key.value, encodeText(`${id}.${timestamp}.${body}`));
  const headers = {
    'webhook-id': id,
    'webhook-timestamp': String(timestamp),
    'webhook-signature': `v1,${encodeBase64(signature)}`,
  };
  return { url: sink.url, headers, body };
}
