import { execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Bundle } from '../../offline/serve.ts';
import { shippedBundle } from '../support/bundle.ts';
import { parseMetrics } from '../support/prometheus.ts';
import { createKey, signedRelease, testContent } from '../support/release.ts';
import { alertsOf, refused } from './alerts.ts';
import { activate, publish, secrets, startEdge, TOKENS, type Edge } from './edge.ts';
import { startReceiver, until } from './receiver.ts';

const PROMTOOL = '/usr/bin/promtool';
const ALERTMANAGER = '/usr/bin/prometheus-alertmanager';

/** These tests run where Debian's packages prometheus and prometheus-alertmanager are installed; elsewhere they say that they do not. */
function installed(binary: string): boolean {
  if (existsSync(binary)) return true;
  console.warn(`SKIPPED: ${binary} is not installed, so what it would judge is not judged`);
  return false;
}

const key = await createKey();
let bundle: Bundle;
let edge: Edge;

beforeAll(async () => {
  bundle = await shippedBundle();
  const sink = { type: 'slack', name: 'chat', url: 'http://127.0.0.1:9/' };
  edge = await startEdge(bundle, { ...secrets(key), ALERT_SINKS: JSON.stringify([sink]) });
  const release = await signedRelease(key, testContent());
  await publish(edge, release);
  await activate(edge, release.digest);
  const pixels = Array.from({ length: 8 }, () => Array.from({ length: 8 }, () => [7]));
  for (let request = 0; request < 3; request += 1) {
    await edge.send('POST', '/v1/classify', { token: TOKENS.classify, body: { pixels } });
  }
  await (await alertsOf(edge)).record([refused(1), refused(1), refused(2)]);
});
afterAll(() => edge.miniflare.dispose());

async function scrape(): Promise<string> {
  const authorization = `Bearer ${TOKENS.metrics}`;
  const response = await fetch(new URL('/metrics', edge.url), { headers: { authorization } });
  expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
  return response.text();
}
const samplesOf = async (family: string) =>
  parseMetrics(await scrape()).find(({ name }) => name === family)?.samples ?? [];

test('the metrics count requests, alerts and what sinks have not taken', async () => {
  await until(async () => (await samplesOf('trigger_guard_requests_total'))[0]?.value === 3);
  const alerts = await samplesOf('trigger_guard_alerts_total');
  expect(alerts.find(({ labels }) => labels['kind'] === 'release-refused')).toMatchObject({
    labels: { severity: 'critical' },
    value: 3,
  });
  expect((await samplesOf('trigger_guard_notifications_queued'))[0]!.value).toBeGreaterThanOrEqual(2);
  const histogram = await samplesOf('trigger_guard_request_duration_seconds');
  expect(histogram.find(({ labels }) => labels['le'] === '+Inf')?.value).toBe(3);
  expect((await edge.send('GET', '/v1/alerts', { token: TOKENS.metrics })).status).toBe(403);
});

test.skipIf(!installed(PROMTOOL))('promtool has nothing to say against the metrics', async () => {
  expect(execFileSync(PROMTOOL, ['check', 'metrics'], { input: await scrape() }).toString()).toBe('');
});

test('every request is one line in the log, with its id and without its token, query or pixels', async () => {
  const before = edge.logs.length;
  const answer = await edge.send('GET', '/v1/alerts?limit=1', { token: TOKENS.operate });
  await edge.send('GET', '/v1/alerts?limit=x', { token: TOKENS.operate });
  await edge.send('GET', '/healthz');
  const linesOf = () =>
    edge.logs
      .slice(before)
      .map((line) => JSON.parse(line) as Record<string, unknown>)
      .filter(({ event }) => event === 'request');
  await until(() => linesOf().length === 2);
  const [listed, refusal] = linesOf();
  expect(listed).toMatchObject({
    requestId: answer.headers.get('x-request-id'),
    method: 'GET',
    operation: 'listAlerts',
    status: 200,
  });
  expect(listed!['actor']).toMatch(/^operate:[0-9a-f]{8}$/);
  expect(refusal).toMatchObject({ status: 400, error: 'invalid_request' });
  const log = edge.logs.join('\n');
  for (const hidden of [...Object.values(TOKENS), 'limit=', 'pixels']) expect(log).not.toContain(hidden);
});

test.skipIf(!installed(ALERTMANAGER))(
  'a real Alertmanager shows an alert while it is open and drops it when it is over',
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'trigger-guard-alertmanager-'));
    const free = await startReceiver();
    const { port } = new URL(free.url);
    await free.close();
    await writeFile(join(folder, 'alertmanager.yml'), 'route:\n  receiver: none\nreceivers:\n  - name: none\n');
    const url = `http://127.0.0.1:${port}`;
    const options = [
      `--config.file=${join(folder, 'alertmanager.yml')}`,
      `--storage.path=${folder}`,
      `--web.listen-address=127.0.0.1:${port}`,
      '--cluster.listen-address=',
    ];
    const alertmanager = spawn(ALERTMANAGER, options, { stdio: 'ignore' });
    const shown = async () => {
      const response = await fetch(`${url}/api/v2/alerts`).catch(() => undefined);
      return response?.ok
        ? ((await response.json()) as { labels: Record<string, string>; status: { state: string } }[])
        : undefined;
    };
    const sink = { type: 'alertmanager', name: 'manager', url };
    const worker = await startEdge(bundle, { ...secrets(key), ALERT_SINKS: JSON.stringify([sink]) });
    try {
      await until(async () => (await shown()) !== undefined);
      const object = await alertsOf(worker);
      await object.record([refused(7)]);
      await until(async () => (await shown())?.length === 1);
      expect((await shown())![0]).toMatchObject({
        labels: { alertname: 'TriggerGuardReleaseRefused', severity: 'critical', release: 'release-7' },
        status: { state: 'active' },
      });
      const { id } = (await object.list({ limit: 1 }))[0]!;
      await worker.send('POST', `/v1/alerts/${id}/acknowledge`, { token: TOKENS.operate });
      await worker.send('POST', `/v1/alerts/${id}/resolve`, { token: TOKENS.operate });
      await until(async () => (await shown())?.length === 0);
      expect((await object.sinks())[0]).toMatchObject({ queued: 0, lastError: null });
    } finally {
      alertmanager.kill();
      await worker.miniflare.dispose();
      await rm(folder, { recursive: true });
    }
  },
);
