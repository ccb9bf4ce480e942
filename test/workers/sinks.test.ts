import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Bundle } from '../../offline/serve.ts';
import { shippedBundle } from '../support/bundle.ts';
import { alertsResponse, alertView, sinksResponse } from '../../src/api/alerts.ts';
import { createKey } from '../support/release.ts';
import { alertsOf, refused, type Alerts } from './alerts.ts';
import { secrets, startEdge, TOKENS, type Edge } from './edge.ts';
import { startReceiver, until, type Receiver } from './receiver.ts';

const key = await createKey();
const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
let bundle: Bundle;
let edge: Edge;
let alerts: Alerts;
const [webhook, slack, pagerduty, ocsf] = (await Promise.all([1, 2, 3, 4].map(() => startReceiver()))) as [
  Receiver,
  Receiver,
  Receiver,
  Receiver,
];
const receivers = [webhook, slack, pagerduty, ocsf];

const sinks = [
  { type: 'webhook', name: 'hook', url: `${webhook.url}/hook`, secret: SECRET },
  { type: 'slack', name: 'chat', url: `${slack.url}/services/T/B/x` },
  { type: 'pagerduty', name: 'pager', url: `${pagerduty.url}/v2/enqueue`, routingKey: 'routing-key' },
  { type: 'ocsf', name: 'lake', url: `${ocsf.url}/findings`, token: 'lake-token', minimumSeverity: 'critical' },
];

beforeAll(async () => {
  bundle = await shippedBundle();
  edge = await startEdge(bundle, { ...secrets(key), ALERT_SINKS: JSON.stringify(sinks) });
  alerts = await alertsOf(edge);
});
afterAll(async () => {
  await edge.miniflare.dispose();
  await Promise.all(receivers.map((receiver) => receiver.close()));
});
beforeEach(async () => {
  for (const receiver of receivers) receiver.answer = 200;
  // What an earlier test raised may still be on its way: it must not count in this one.
  await until(async () => (await alerts.sinks()).every(({ queued }) => queued === 0));
  for (const receiver of receivers) receiver.received.length = 0;
});

let next = 0;
const raiseOne = async (): Promise<number> => {
  const release = next;
  next += 1;
  await alerts.record([refused(release)]);
  return (await alerts.list({ limit: 1 }))[0]!.id;
};
const operate = (method: string, path: string, body?: unknown) =>
  edge.send(method, path, { token: TOKENS.operate, ...(body !== undefined && { body }) });
const bodies = (receiver: Receiver) => receiver.taken().map(({ body }) => JSON.parse(body) as Record<string, unknown>);

/** Opens an alert, acknowledges and resolves it, and waits until a receiver took as many messages as it should. */
async function lifeOfOne(receiver: Receiver, messages: number): Promise<number> {
  const id = await raiseOne();
  await operate('POST', `/v1/alerts/${id}/acknowledge`);
  await operate('POST', `/v1/alerts/${id}/resolve`);
  await until(() => receiver.taken().length >= messages);
  return id;
}

describe('a sink hears once that an alert was opened, acknowledged and resolved', () => {
  test('as signed Standard Webhooks, which its library verifies', async () => {
    const id = await lifeOfOne(webhook, 3);
    const verifier = new Webhook(SECRET);
    const told = webhook.received.map(({ body, headers }) =>
      verifier.verify(body, headers as Record<string, string>),
    ) as {
      type: string;
      data: { id: number };
    }[];
    expect(told.map(({ type, data }) => [type, data.id])).toEqual([
      ['alert.opened', id],
      ['alert.acknowledged', id],
      ['alert.resolved', id],
    ]);
    expect(new Set(webhook.received.map(({ headers }) => headers['webhook-id'])).size).toBe(3);
    expect(() =>
      verifier.verify(`${webhook.received[0]!.body} `, webhook.received[0]!.headers as Record<string, string>),
    ).toThrow('No matching signature found');
  });

  test('as messages that Slack takes', async () => {
    await lifeOfOne(slack, 3);
    const texts = bodies(slack).map(({ text }) => text as string);
    expect(texts[0]).toMatch(/^\[critical\] release-refused: Release release-\d+ is refused \(expiry\)/);
    expect(texts[1]).toMatch(/^\[acknowledged by operate:/);
    expect(texts[2]).toMatch(/^\[resolved\]/);
  });

  test('as one PagerDuty incident', async () => {
    await lifeOfOne(pagerduty, 3);
    const events = bodies(pagerduty);
    expect(events.map(({ event_action: action }) => action)).toEqual(['trigger', 'acknowledge', 'resolve']);
    expect(new Set(events.map(({ dedup_key: dedupKey }) => dedupKey)).size).toBe(1);
    expect(events[0]).toMatchObject({
      routing_key: 'routing-key',
      payload: { severity: 'critical', source: 'trigger-guard' },
    });
  });

  test('as OCSF findings, created, updated and closed, when the severity is one that it wants', async () => {
    await alerts.record([{ kind: 'rollout-paused', release: 'r', revision: 3, reason: 'a mere warning' }]);
    await lifeOfOne(ocsf, 3);
    const findings = bodies(ocsf);
    expect(findings.map(({ activity_id: id, type_uid: type, status_id: status }) => [id, type, status])).toEqual([
      [1, 200401, 1],
      [2, 200402, 2],
      [3, 200403, 4],
    ]);
    expect(findings[0]).toMatchObject({
      class_uid: 2004,
      category_uid: 2,
      severity_id: 5,
      metadata: { version: '1.5.0' },
    });
    expect(ocsf.received[0]!.headers.authorization).toBe('Bearer lake-token');
  });
});

describe('the outbox', () => {
  test('tries a sink that fails again with the same id until it takes the message, and then never again', async () => {
    webhook.answer = 503;
    await raiseOne();
    await until(() => webhook.received.length >= 2);
    webhook.answer = 204;
    await until(() => webhook.taken().length === 1);
    await raiseOne();
    await until(() => webhook.taken().length === 2);
    const ids = webhook.received.map(({ headers }) => headers['webhook-id']);
    expect(new Set(ids.slice(0, -1)).size).toBe(1);
    expect(new Set(webhook.taken().map(({ headers }) => headers['webhook-id'])).size).toBe(2);
    // A message leaves its queue a moment after the sink took it.
    let counts: number[] = [];
    await until(async () => {
      const { body } = await operate('GET', '/v1/sinks');
      counts = sinksResponse.parse(body).sinks.map(({ queued }) => queued);
      return counts.every((queued) => queued === 0);
    });
    expect(counts).toEqual([0, 0, 0, 0]);
    expect(webhook.taken()).toHaveLength(2);
  });

  test('tells the other sinks at once while one does not answer', async () => {
    slack.answer = 'hang';
    for (let index = 0; index < 3; index += 1) await raiseOne();
    await until(() => [webhook, pagerduty, ocsf].every((receiver) => receiver.taken().length === 3), 5_000);
    expect(slack.received.length).toBe(1);
    slack.hangUp();
  });

  test('gives up a message that the sink calls wrong, counts it and goes on', async () => {
    pagerduty.answer = 400;
    await raiseOne();
    await until(() => pagerduty.received.length === 1);
    pagerduty.answer = 202;
    await raiseOne();
    await until(() => pagerduty.taken().length === 1);
    expect(pagerduty.received.length).toBe(2);
    expect(edge.logs.some((line) => line.includes('"sink":"pager","outcome":"refused","error":"HTTP 400"'))).toBe(true);
  });

  test('does not follow a redirect, which would carry the secrets elsewhere', async () => {
    ocsf.answer = 307;
    await raiseOne();
    // The receiver has the message before the worker has its answer.
    await until(async () => {
      const [, , , lake] = sinksResponse.parse((await operate('GET', '/v1/sinks')).body).sinks;
      return lake?.name === 'lake' && lake.queued === 1 && lake.lastError === 'HTTP 307';
    });
    expect(ocsf.received.length).toBeGreaterThanOrEqual(1);
    ocsf.answer = 200;
    await until(() => ocsf.taken().length === 1);
  });

  test('no secret and no address of a sink is logged or answered', async () => {
    const { body } = await operate('GET', '/v1/sinks');
    const said = JSON.stringify(body) + edge.logs.join('\n');
    for (const hidden of [SECRET, 'routing-key', 'lake-token', '/services/T/B/x', webhook.url])
      expect(said).not.toContain(hidden);
  });
});

describe('silence and state', () => {
  test('a silence keeps new alerts from the sinks until it ends, but not from the list', async () => {
    const silenced = await operate('POST', '/v1/silences', {
      scope: { kind: 'release-refused' },
      minutes: 5,
      reason: 'known',
    });
    expect(silenced.status).toBe(201);
    const quiet = await raiseOne();
    await operate('POST', `/v1/alerts/${quiet}/resolve`);
    const { id } = silenced.body as { id: number };
    expect((await operate('GET', '/v1/silences')).body).toMatchObject({ silences: [{ id, reason: 'known' }] });
    expect((await operate('DELETE', `/v1/silences/${id}`)).status).toBe(200);
    expect((await operate('DELETE', `/v1/silences/${id}`)).status).toBe(404);
    const loud = await raiseOne();
    await until(() => webhook.taken().length > 0);
    expect(bodies(webhook)[0]).toMatchObject({ type: 'alert.opened', data: { id: loud, silenced: false } });
    const { body } = await operate('GET', '/v1/alerts?status=resolved&limit=1');
    expect(alertsResponse.parse(body).alerts[0]).toMatchObject({ id: quiet, silenced: true });
  });

  test('the list is filtered by kind, severity and status', async () => {
    const id = await raiseOne();
    await alerts.record([{ kind: 'rollout-paused', release: 'r', revision: 99, reason: 'inconclusive' }]);
    const list = async (query: string) =>
      alertsResponse.parse((await operate('GET', `/v1/alerts?${query}`)).body).alerts;
    expect((await list('kind=rollout-paused')).every(({ alert }) => alert.kind === 'rollout-paused')).toBe(true);
    expect((await list('severity=warning&limit=1'))[0]!.alert).toMatchObject({ kind: 'rollout-paused', revision: 99 });
    expect((await list('status=open&kind=release-refused&limit=1'))[0]!.id).toBe(id);
    const answer = await operate('POST', `/v1/alerts/${id}/acknowledge`);
    expect(alertView.parse(answer.body)).toMatchObject({
      status: 'acknowledged',
    });
    expect(alertView.parse(answer.body).acknowledged?.by).toMatch(/^operate:[0-9a-f]{8}$/);
    expect((await list('status=acknowledged&limit=1'))[0]!.id).toBe(id);
    expect((await operate('GET', '/v1/alerts?kind=other')).status).toBe(400);
  });

  test('an id that is none gets 404, an alert that is over 409 when it is acknowledged', async () => {
    for (const id of ['0', 'x', '1e99', '999999']) {
      expect((await operate('POST', `/v1/alerts/${id}/acknowledge`)).status).toBe(404);
    }
    const id = await raiseOne();
    await operate('POST', `/v1/alerts/${id}/resolve`);
    expect((await operate('POST', `/v1/alerts/${id}/acknowledge`)).status).toBe(409);
  });

  test('what comes again after it was resolved opens a new record', async () => {
    const id = await raiseOne();
    await operate('POST', `/v1/alerts/${id}/resolve`);
    await alerts.record([refused(next - 1)]);
    const [latest] = await alerts.list({ limit: 1 });
    expect(latest).toMatchObject({ status: 'open', count: 1 });
    expect(latest!.id).toBeGreaterThan(id);
  });
});

test('nothing is lost when the worker is restarted during an outage of its sink, and nobody has to ask it to go on', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'trigger-guard-sinks-'));
  const receiver = await startReceiver();
  receiver.answer = 500;
  const only = [{ type: 'webhook', name: 'hook', url: receiver.url, secret: SECRET }];
  const bindings = { ...secrets(key), ALERT_SINKS: JSON.stringify(only) };
  try {
    const before = await startEdge(bundle, bindings, { folder });
    await (await alertsOf(before)).record([refused(1), refused(2), refused(3)]);
    await until(() => receiver.received.length >= 1);
    await before.miniflare.dispose();
    receiver.answer = 200;
    const after = await startEdge(bundle, bindings, { folder });
    try {
      await until(() => receiver.taken().length === 3);
      expect(new Set(receiver.taken().map(({ headers }) => headers['webhook-id'])).size).toBe(3);
    } finally {
      await after.miniflare.dispose();
    }
  } finally {
    await receiver.close();
    await rm(folder, { recursive: true });
  }
}, 60_000);

test('a full outbox drops the oldest, counts them, and says so in an alert', async () => {
  const down = await startEdge(bundle, {
    ...secrets(key),
    ALERT_SINKS: JSON.stringify([{ type: 'slack', name: 'down', url: 'http://127.0.0.1:9/' }]),
  });
  try {
    const object = await alertsOf(down);
    await object.record(Array.from({ length: 1_010 }, (_, index) => refused(index)));
    expect((await object.sinks())[0]).toMatchObject({ queued: 1_000 });
    const { body } = await down.send('GET', '/v1/alerts?kind=notifications-dropped', { token: TOKENS.operate });
    const [dropped] = alertsResponse.parse(body).alerts;
    // Ten for the alerts above, one for the alert about it.
    expect(dropped).toMatchObject({ count: 11, alert: { sink: 'down' } });
  } finally {
    await down.miniflare.dispose();
  }
});
