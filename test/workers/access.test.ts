import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import type { Bundle } from '../../offline/serve.ts';
import { shippedBundle } from '../support/bundle.ts';
import type { Alert } from '../../src/alert.ts';
import { alertsResponse } from '../../src/api/alerts.ts';
import { errorResponse } from '../../src/api/route.ts';
import { createKey, signedRelease, testContent } from '../support/release.ts';
import { activate, publish, refusalOf, secrets, sha256, startEdge, TOKENS, type Edge } from './edge.ts';

const key = await createKey();
let bundle: Bundle;
let edge: Edge;

beforeAll(async () => {
  bundle = await shippedBundle();
  edge = await startEdge(bundle, secrets(key));
});
afterAll(() => edge.miniflare.dispose());

async function start(bindings: Record<string, string>, options?: { unalerted: true }): Promise<Edge> {
  const edge = await startEdge(bundle, bindings, options);
  onTestFinished(() => edge.miniflare.dispose());
  return edge;
}

const guarded = [
  ['PUT', '/v1/releases/x', ['publish']],
  ['GET', '/v1/releases', ['publish', 'operate']],
  ['POST', '/v1/rollouts', ['publish', 'operate']],
  ['GET', '/v1/rollouts', ['publish', 'operate']],
  ['POST', '/v1/rollouts/operations', ['operate']],
  ['GET', '/v1/health', ['operate']],
  ['POST', '/v1/classify', ['classify']],
  ['POST', '/v1/classify/batch', ['classify']],
  ['GET', '/v1/alerts', ['operate']],
] as const;

describe('who may call what', () => {
  test.each(guarded)('%s %s is for %j only', async (method, path, roles) => {
    const anonymous = await edge.send(method, path);
    expect(refusalOf(anonymous)).toBe('401 unauthorized: authorization: expected a bearer token');
    expect(anonymous.headers.get('www-authenticate')).toBe('Bearer realm="trigger-guard"');
    const stranger = await edge.send(method, path, { token: 'unknown' });
    expect(refusalOf(stranger)).toBe('401 unauthorized: authorization: the token is not known');
    for (const [role, token] of Object.entries(TOKENS)) {
      const { status } = await edge.send(method, path, { token });
      if ((roles as readonly string[]).includes(role)) expect([401, 403]).not.toContain(status);
      else expect(status, role).toBe(403);
    }
  });

  test.each(['/healthz', '/openapi.json'])('%s is for everybody', async (path) => {
    expect((await edge.send('GET', path)).status).toBe(200);
  });

  test('the digest of a token is no token', async () => {
    expect((await edge.send('GET', '/v1/alerts', { token: sha256(TOKENS.operate) })).status).toBe(401);
  });

  test('a refused client gets its answer even while it is still sending a large body', async () => {
    const body = new Uint8Array(20_000_000);
    for (let attempt = 0; attempt < 5; attempt += 1) {
      const answer = await edge.send('PUT', '/v1/releases/x', { token: 'unknown', body, type: 'multipart/form-data' });
      expect(answer.status).toBe(401);
    }
  });

  test('during a rotation two tokens of a role hold, and a malformed digest matches nothing', async () => {
    const edge = await start({ OPERATE_TOKEN_SHA256: `${sha256('old')}, ${sha256('new').toUpperCase()},nonsense,` });
    for (const token of ['old', 'new']) expect((await edge.send('GET', '/v1/alerts', { token })).status).toBe(200);
    for (const token of ['nonsense', 'other'])
      expect((await edge.send('GET', '/v1/alerts', { token })).status).toBe(401);
  });

  test('a worker without configured tokens refuses everything that needs one', async () => {
    const edge = await start({});
    for (const [method, path] of guarded) {
      for (const token of [...Object.values(TOKENS), sha256('')]) {
        expect((await edge.send(method, path, { token })).status).toBe(401);
      }
    }
  });
});

describe('every answer', () => {
  test('a refusal is JSON with a code, a message and the request id that its header has', async () => {
    const answer = await edge.send('GET', '/nowhere');
    expect(refusalOf(answer)).toBe('404 not_found: no route GET /nowhere');
    expect(answer.headers.get('x-request-id')).toBe(errorResponse.parse(answer.body).error.requestId);
  });

  test('an error within is answered without its stack and logged with it under the same id', async () => {
    const broken = await start(secrets(key), { unalerted: true });
    const answer = await broken.send('GET', '/v1/alerts', { token: TOKENS.operate });
    expect(refusalOf(answer)).toMatch(/^500 internal: /);
    const { requestId } = errorResponse.parse(answer.body).error;
    const logged = broken.logs.map((line) => JSON.parse(line) as Record<string, string>);
    expect(logged.find((entry) => entry['requestId'] === requestId)?.['error']).toMatch(/\n +at /);
  });

  test('an alert that cannot be stored costs no answer, but is logged whole', async () => {
    const broken = await start(secrets(key), { unalerted: true });
    const content = testContent();
    const probeBias = Float32Array.of(100, 100); // Every image is a match.
    const release = await signedRelease(key, { ...content, guard: { ...content.guard, probeBias } });
    expect((await publish(broken, release)).status).toBe(201);
    expect((await activate(broken, release.digest)).status).toBe(200);
    const pixels = Array.from({ length: 8 }, () => Array.from({ length: 8 }, () => [10]));
    const { status } = await broken.send('POST', '/v1/classify', { token: TOKENS.classify, body: { pixels } });
    expect(status).toBe(200);
    const logged = broken.logs.map((line) => JSON.parse(line) as { event: string; alerts?: Alert[] });
    const lost = logged.find(({ event }) => event === 'alert_not_stored');
    expect(lost?.alerts?.map(({ kind, release }) => [kind, release])).toContainEqual(['trigger-match', release.digest]);
  });
});

describe('the alerts', () => {
  type Alerts = {
    record(alerts: readonly Alert[]): Promise<void>;
    list(query: { limit: number }): Promise<{ id: number; count: number; alert: Alert }[]>;
  };
  const alertsObject = async (edge: Edge): Promise<Alerts> => {
    const objects = await edge.miniflare.getDurableObjectNamespace('ALERTS');
    return objects.get(objects.idFromName('alerts')) as unknown as Alerts;
  };
  const refusal = (index: number): Alert => ({
    kind: 'release-refused',
    release: String(index),
    reason: 'expiry',
    message: 'expired',
  });

  test('are listed newest first in pages, repeats counted on one line', async () => {
    const edge = await start(secrets(key));
    const object = await alertsObject(edge);
    await object.record(Array.from({ length: 5 }, (_, index) => refusal(index)));
    await object.record([refusal(0), refusal(0)]);
    const page = async (query: string) => {
      const { status, body } = await edge.send('GET', `/v1/alerts${query}`, { token: TOKENS.operate });
      expect(status).toBe(200);
      return alertsResponse.parse(body);
    };
    const first = await page('?limit=3');
    expect(first.alerts.map(({ alert }) => alert.release)).toEqual(['4', '3', '2']);
    const second = await page(`?limit=3&cursor=${first.cursor}`);
    expect(second.alerts.map(({ alert, count }) => [alert.release, count])).toEqual([
      ['1', 1],
      ['0', 3],
    ]);
    expect(second.cursor).toBeNull();
  });

  test('keep the newest 10,000', async () => {
    const object = await alertsObject(edge);
    await object.record(Array.from({ length: 10_050 }, (_, index) => refusal(index)));
    const kept = await object.list({ limit: 20_000 });
    expect(kept.length).toBe(10_000);
    expect([kept[0]!.alert.release, kept.at(-1)!.alert.release]).toEqual(['10049', '50']);
  });

  test.each(['limit=0', 'limit=1000', 'limit=x', 'cursor=-1', 'page=2'])('refuse the query %s', async (query) => {
    const answer = await edge.send('GET', `/v1/alerts?${query}`, { token: TOKENS.operate });
    expect(refusalOf(answer)).toMatch(/^400 invalid_request: query: /);
  });
});
