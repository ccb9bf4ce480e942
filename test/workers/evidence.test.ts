import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Bundle } from '../../offline/serve.ts';
import { shippedBundle } from '../support/bundle.ts';
import { alertsResponse, liveMessage, type LiveMessage } from '../../src/api/alerts.ts';
import { decodeImage } from '../../src/image.ts';
import { createKey, signedRelease, testContent } from '../support/release.ts';
import { alertsOf, refused } from './alerts.ts';
import { activate, publish, secrets, startEdge, TOKENS, type Edge } from './edge.ts';
import { until } from './receiver.ts';

const key = await createKey();
let bundle: Bundle;
let edge: Edge;
let digest: string;
const content = testContent();
const bytes = Uint8Array.from({ length: 64 }, (_, index) => (index * 37) % 256);
const pixels = Array.from({ length: 8 }, (_, y) => Array.from({ length: 8 }, (_, x) => [bytes[8 * y + x]!]));

beforeAll(async () => {
  bundle = await shippedBundle();
  edge = await startEdge(bundle, { ...secrets(key), EVIDENCE_IMAGES_DAYS: '7' });
  // Every image is a match.
  const guard = { ...content.guard, probeBias: Float32Array.of(100, 100) };
  const release = await signedRelease(key, { ...content, guard });
  digest = release.digest;
  await publish(edge, release);
  await activate(edge, digest);
});
afterAll(() => edge.miniflare.dispose());

const classify = () => edge.send('POST', '/v1/classify', { token: TOKENS.classify, body: { pixels } });
const listed = async () =>
  alertsResponse.parse((await edge.send('GET', '/v1/alerts', { token: TOKENS.operate })).body).alerts;
const imageOf = (id: number, token: string) =>
  fetch(new URL(`/v1/alerts/${id}/image`, edge.url), { headers: { authorization: `Bearer ${token}` } });

describe('evidence', () => {
  test('an alert says what came, from whom as a hash, and keeps the image of the first input as the network saw it', async () => {
    const answer = await classify();
    const requestId = answer.headers.get('x-request-id');
    await until(async () => (await listed()).filter(({ image }) => image).length === 2);
    const alerts = await listed();
    for (const { alert, image } of alerts) {
      expect(alert).toMatchObject({ kind: 'trigger-match', release: digest, requestId });
      expect(alert.kind === 'trigger-match' && alert.clientKeyHash).toMatch(/^[0-9a-f]{32}$/);
      expect(image!.requestId).toBe(requestId);
      const days = (Date.parse(image!.expiresAt) - Date.now()) / 86_400_000;
      expect(Math.abs(days - 7)).toBeLessThan(0.01);
    }
    const response = await imageOf(alerts[0]!.id, TOKENS.operate);
    expect([response.status, response.headers.get('content-type')]).toEqual([200, 'image/png']);
    const decoded = decodeImage(await response.bytes(), { maxPixels: 64 });
    if (!decoded.ok) throw new Error(decoded.error);
    expect(decoded.value).toMatchObject({ height: 8, width: 8, channels: 1 });
    expect(Array.from(decoded.value.data)).toEqual(Array.from(bytes));
    expect((await imageOf(alerts[0]!.id, TOKENS.classify)).status).toBe(403);
    expect((await imageOf(999_999, TOKENS.operate)).status).toBe(404);
  });

  test('repeats keep no further image', async () => {
    await classify();
    await until(async () => (await listed()).every(({ count }) => count >= 2));
    const bucket = await edge.miniflare.getR2Bucket('RELEASES');
    expect((await bucket.list({ prefix: 'evidence/' })).objects.length).toBe(2);
  });

  test('without EVIDENCE_IMAGES_DAYS no image is kept, and after the days it is deleted', async () => {
    const [off, brief] = await Promise.all([
      startEdge(bundle, secrets(key)),
      // Two seconds, as a part of a day.
      startEdge(bundle, { ...secrets(key), EVIDENCE_IMAGES_DAYS: String(2 / 86_400) }),
    ]);
    try {
      const guard = { ...content.guard, probeBias: Float32Array.of(100, 100) };
      const release = await signedRelease(key, { ...content, guard });
      const stored = async (at: Edge) => {
        const bucket = await at.miniflare.getR2Bucket('RELEASES');
        return (await bucket.list({ prefix: 'evidence/' })).objects.length;
      };
      for (const at of [off, brief]) {
        await publish(at, release);
        await activate(at, release.digest);
        await at.send('POST', '/v1/classify', { token: TOKENS.classify, body: { pixels } });
      }
      await until(async () => (await stored(brief)) === 2);
      await until(async () => (await stored(brief)) === 0);
      const alerts = await (await alertsOf(off)).list({ limit: 5 });
      expect(alerts.map(({ image }) => image)).toEqual([null, null]);
      expect(await stored(off)).toBe(0);
    } finally {
      await Promise.all([off.miniflare.dispose(), brief.miniflare.dispose()]);
    }
  });
});

test('every minute it is looked whether more is suspect than false positives explain', async () => {
  for (let request = 0; request < 12; request += 1) await classify();
  const worker = await edge.miniflare.getWorker();
  await until(async () => {
    await worker.scheduled({ cron: '* * * * *' });
    return (await listed()).some(({ alert }) => alert.kind === 'match-rate-surge');
  });
  const surge = (await listed()).find(({ alert }) => alert.kind === 'match-rate-surge')!;
  expect(surge).toMatchObject({ severity: 'critical', alert: { release: digest, rate: 1, expectedRate: 0.1 } });
});

describe('the live feed', () => {
  const base64url = Buffer.from(TOKENS.operate).toString('base64url');
  const feed = () => new URL('/v1/alerts/live', edge.url.href.replace(/^http/, 'ws'));

  /** Opens a socket as a browser does; undefined when the worker refuses it. */
  async function listen(protocols: string[]) {
    const socket = new WebSocket(feed(), protocols);
    const messages: LiveMessage[] = [];
    const pongs: string[] = [];
    const closed = new Promise<number>((resolve) => socket.addEventListener('close', ({ code }) => resolve(code)));
    socket.addEventListener('message', ({ data }) => {
      if (data === 'pong') pongs.push('pong');
      else messages.push(liveMessage.parse(JSON.parse(data as string)));
    });
    const opened = await new Promise<boolean>((resolve) => {
      socket.addEventListener('open', () => resolve(true));
      socket.addEventListener('error', () => resolve(false));
    });
    return opened ? { socket, messages, pongs, closed } : undefined;
  }

  test('tells a browser what is opened, repeated, acknowledged and resolved', async () => {
    const listener = (await listen(['trigger-guard', `bearer.${base64url}`]))!;
    expect(listener.socket.protocol).toBe('trigger-guard');
    const alerts = await alertsOf(edge);
    for (let repeat = 0; repeat < 4; repeat += 1) await alerts.record([refused(1)]);
    const { id } = (await alerts.list({ limit: 1 }))[0]!;
    for (const action of ['acknowledge', 'resolve']) {
      await edge.send('POST', `/v1/alerts/${id}/${action}`, { token: TOKENS.operate });
    }
    await until(() => listener.messages.length >= 5);
    expect(listener.messages.map(({ event, alert }) => [event, alert.id, alert.count])).toEqual([
      ['opened', id, 1],
      ['repeated', id, 2],
      ['repeated', id, 4],
      ['acknowledged', id, 4],
      ['resolved', id, 4],
    ]);
    listener.socket.send('ping');
    await until(() => listener.pongs.length === 1);
    listener.socket.send('anything else');
    expect(await listener.closed).toBe(1008);
  });

  test('is for those who operate, and only over a WebSocket', async () => {
    const classify = Buffer.from(TOKENS.classify).toString('base64url');
    for (const protocols of [
      [],
      ['trigger-guard'],
      ['trigger-guard', `bearer.${classify}`],
      ['trigger-guard', 'bearer.-'],
    ]) {
      expect(await listen(protocols)).toBeUndefined();
    }
    const plain = await edge.send('GET', '/v1/alerts/live', { token: TOKENS.operate });
    expect(plain.status).toBe(426);
    const elsewhere = await fetch(new URL('/v1/alerts', edge.url), {
      headers: { 'sec-websocket-protocol': `bearer.${base64url}` },
    });
    expect(elsewhere.status).toBe(401);
  });

  test('takes 32 listeners and refuses the next', async () => {
    const offered = ['trigger-guard', `bearer.${base64url}`];
    const listeners = await Promise.all(Array.from({ length: 32 }, () => listen(offered)));
    expect(listeners.every(Boolean)).toBe(true);
    expect(await listen(offered)).toBeUndefined();
    listeners[0]!.socket.close();
    await listeners[0]!.closed;
    await until(async () => (await listen(offered)) !== undefined);
    for (const listener of listeners) listener!.socket.close();
  });
});
