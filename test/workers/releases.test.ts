import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import type { Bundle } from '../../offline/serve.ts';
import { shippedBundle } from '../support/bundle.ts';
import { alertsResponse } from '../../src/api/alerts.ts';
import { classifyResponse } from '../../src/api/classify.ts';
import { releasesResponse } from '../../src/api/releases.ts';
import { rolloutResponse } from '../../src/api/rollout.ts';
import { RELEASE_FILES, SIGNATURE_FILE } from '../../src/release/manifest.ts';
import type { ReleaseContent } from '../../src/release/release.ts';
import { createKey, signedRelease, testContent } from '../support/release.ts';
import {
  activate,
  publish,
  refusalOf,
  releaseForm,
  secrets,
  startEdge,
  statusOfUnfinished,
  TOKENS,
  type Answer,
  type Edge,
} from './edge.ts';
import { oversizedContent } from './networks.ts';

const key = await createKey();
const good = await signedRelease(key, testContent(1));
const other = await signedRelease(key, testContent(2));
const unknown = '0'.repeat(64);
let bundle: Bundle;
let shared: Edge;

beforeAll(async () => {
  bundle = await shippedBundle();
  shared = await startEdge(bundle, secrets(key));
});
afterAll(() => shared.miniflare.dispose());

/** A worker of this test alone. */
async function start(bindings = secrets(key), folder?: string): Promise<Edge> {
  const edge = await startEdge(bundle, bindings, folder === undefined ? {} : { folder });
  onTestFinished(() => edge.miniflare.dispose());
  return edge;
}

/** A worker of this test alone that was started anew, with `good` stored and active. */
async function restart(): Promise<Edge> {
  const folder = await mkdtemp(join(tmpdir(), 'trigger-guard-edge-'));
  const before = await startEdge(bundle, secrets(key), { folder });
  await publish(before, good);
  await activate(before, good.digest);
  await before.miniflare.dispose();
  onTestFinished(() => rm(folder, { recursive: true }));
  return start(secrets(key), folder);
}

const operate = (edge: Edge, path: string): Promise<Answer> => edge.send('GET', path, { token: TOKENS.operate });
const classify = (edge: Edge): Promise<Answer> => {
  const pixels = Array.from({ length: 8 }, () => Array.from({ length: 8 }, () => [10]));
  return edge.send('POST', '/v1/classify', { token: TOKENS.classify, body: { pixels } });
};
const served = async (edge: Edge): Promise<string> => {
  const answer = await classify(edge);
  return answer.status === 200 ? classifyResponse.parse(answer.body).release : refusalOf(answer);
};
const bucketOf = (edge: Edge) => edge.miniflare.getR2Bucket('RELEASES');
const storedKeys = async (edge: Edge): Promise<string[]> =>
  (await (await bucketOf(edge)).list()).objects.map(({ key }) => key);

/** Flips one bit in the middle of a stored file. */
async function corrupt(edge: Edge, digest: string, name: string): Promise<void> {
  const bucket = await bucketOf(edge);
  const path = `releases/${digest}/${name}`;
  const bytes = new Uint8Array(await (await bucket.get(path))!.arrayBuffer());
  bytes[bytes.length >> 1]! ^= 1;
  await bucket.put(path, bytes);
}

/** Speaks to the rollout object behind the worker's back. */
async function tellRollout(edge: Edge, path: string, content: unknown): Promise<void> {
  const objects = await edge.miniflare.getDurableObjectNamespace('ROLLOUT');
  const headers = { 'do-content': JSON.stringify(content) };
  const response = await objects.get(objects.idFromName('rollout')).fetch(`https://object/do/${path}`, { headers });
  expect(response.ok).toBe(true);
}

/** Makes the rollout name a release that nobody verified, as if it had gone bad after it was activated. */
const activateUnseen = (edge: Edge, digest: string): Promise<void> =>
  tellRollout(edge, 'call/apply', [
    encodeURIComponent(JSON.stringify({ type: 'activate', digest, actor: 'test', reason: 'unseen' })),
  ]);

async function eventually(check: () => Promise<boolean>): Promise<void> {
  while (!(await check())) await new Promise((resolve) => setTimeout(resolve, 200));
}

describe('publishing', () => {
  test('a release is stored once, listed, activated and then serves', async () => {
    const edge = await start();
    expect(refusalOf(await edge.send('GET', '/readyz'))).toBe('503 not_ready: not ready: no release is active');
    expect(await served(edge)).toBe('503 not_ready: not ready: no release is active');
    expect((await publish(edge, good)).status).toBe(201);
    const { createdAt, expiresAt } = testContent(1).manifest;
    const sizeBytes = [...good.files.values()].reduce((total, bytes) => total + bytes.length, 0);
    const entry = { digest: good.digest, createdAt, expiresAt, sizeBytes, active: false };
    const repeated = await publish(edge, good);
    expect([repeated.status, repeated.body]).toEqual([200, entry]);
    expect((await storedKeys(edge)).sort()).toEqual(
      [...RELEASE_FILES, SIGNATURE_FILE].map((name) => `releases/${good.digest}/${name}`).sort(),
    );
    const { status, body } = await activate(edge, good.digest);
    expect(status).toBe(200);
    expect(rolloutResponse.parse(body)).toMatchObject({ stable: good.digest, history: [{ previous: null }] });
    expect((await edge.send('GET', '/readyz')).status).toBe(200);
    expect(await served(edge)).toBe(good.digest);
    const { releases } = releasesResponse.parse((await operate(edge, '/v1/releases')).body);
    expect(releases).toEqual([{ ...entry, active: true }]);
  });

  test('a second activation follows the first in the history, with who and why', async () => {
    const edge = await start();
    for (const release of [good, other]) await publish(edge, release);
    await activate(edge, good.digest);
    const reason = 'weniger Fehlalarme (−3 %)';
    const body = { digest: other.digest, canaryPercent: 100, reason };
    expect((await edge.send('POST', '/v1/rollouts', { token: TOKENS.operate, body })).status).toBe(200);
    const { revision, history } = rolloutResponse.parse((await operate(edge, '/v1/rollouts')).body);
    expect(revision).toBe(2);
    expect(history.map(({ digest }) => digest)).toEqual([good.digest, other.digest]);
    expect(history[0]!.actor).toMatch(/^publish:[0-9a-f]{8}$/);
    expect(history[1]!.actor).toMatch(/^operate:[0-9a-f]{8}$/);
    expect(history[1]).toMatchObject({ previous: good.digest, reason });
    expect(await served(edge)).toBe(other.digest);
  });

  test.each([...RELEASE_FILES, SIGNATURE_FILE])(
    'a flipped byte in %s is refused and nothing is stored',
    async (name) => {
      const files = new Map(good.files);
      const bytes = files.get(name)!.slice();
      bytes[bytes.length >> 1]! ^= 1;
      const answer = await publish(shared, { files: files.set(name, bytes), digest: good.digest });
      expect(refusalOf(answer)).toMatch(/^422 release_refused: [^\n]+$/);
      expect(await storedKeys(shared)).toEqual([]);
    },
  );

  test('another key, an expired release and another digest are refused with what is wrong', async () => {
    const refused = async (release: typeof good) => refusalOf(await publish(shared, release));
    expect(await refused(await signedRelease(await createKey()))).toMatch(/^422 release_refused: .*key/);
    const content = testContent(1);
    const expired = { ...content, manifest: { ...content.manifest, expiresAt: '2026-01-02T00:00:00Z' } };
    expect(await refused(await signedRelease(key, expired))).toMatch(/^422 release_refused: manifest.json: .*expired/);
    const message = `422 release_refused: release: expected digest ${other.digest}, got ${good.digest}`;
    expect(await refused({ ...good, digest: other.digest })).toBe(message);
    expect(await refused({ ...good, digest: 'latest' })).toMatch(/^400 invalid_digest: digest: expected 64/);
    expect(await storedKeys(shared)).toEqual([]);
  });

  test('a body with a missing, unknown, repeated or text part, or no multipart at all, is refused', async () => {
    const path = `/v1/releases/${good.digest}`;
    const put = async (body: unknown, type?: string) =>
      refusalOf(await shared.send('PUT', path, { token: TOKENS.publish, body, ...(type && { type }) }));
    const form = (change: (form: FormData) => void): FormData => {
      const whole = releaseForm(good.files);
      change(whole);
      return whole;
    };
    const invalid = '422 invalid_request: body: part';
    expect(await put(form((f) => f.delete('manifest.json')))).toBe(`${invalid} "manifest.json" is missing`);
    expect(await put(form((f) => f.set('../x', new Blob([]), 'x')))).toBe(
      `${invalid} "../x" is not a file of a release`,
    );
    expect(await put(form((f) => f.append('manifest.json', new Blob([]), 'x')))).toBe(
      `${invalid} "manifest.json" comes twice`,
    );
    expect(await put(form((f) => f.set('manifest.json', '{}')))).toBe(`${invalid} "manifest.json" is not a file`);
    expect(await put('x', 'multipart/form-data; boundary=y')).toBe(
      '400 invalid_body: body: expected multipart/form-data',
    );
    expect(await put({})).toMatch(/^415 unsupported_media_type: content-type: expected multipart\/form-data, got/);
  });

  test('a body that declares more than 64 MiB is refused before it is read', async () => {
    const headers = {
      authorization: `Bearer ${TOKENS.publish}`,
      'content-type': 'multipart/form-data; boundary=y',
      'content-length': String((64 << 20) + 1),
    };
    const status = await statusOfUnfinished(shared, 'PUT', `/v1/releases/${good.digest}`, headers, '-');
    expect(status).toBe(413);
  });

  test('without trusted keys every release is refused', async () => {
    const { RELEASE_PUBLIC_KEYS: _, ...tokens } = secrets(key);
    const message = '422 release_refused: release: this worker trusts no key (RELEASE_PUBLIC_KEYS is not set)';
    expect(refusalOf(await publish(await start(tokens), good))).toBe(message);
  });
});

describe('rolling out', () => {
  test('an unknown digest gets 404, a wrong percentage or no digest 422', async () => {
    const post = async (body: unknown) =>
      refusalOf(await shared.send('POST', '/v1/rollouts', { token: TOKENS.publish, body }));
    expect(await post({ digest: unknown, canaryPercent: 100 })).toMatch(/^404 unknown_release: /);
    expect(await post({ digest: unknown, canaryPercent: 5 })).toMatch(/^422 invalid_request: body: canaryPercent: /);
    expect(await post({ canaryPercent: 100 })).toMatch(/^422 invalid_request: body: digest: /);
  });

  test('a release that went bad in storage is not activated, even where it is still in memory', async () => {
    const edge = await start();
    for (const release of [good, other]) {
      await publish(edge, release);
      await activate(edge, release.digest);
    }
    await corrupt(edge, good.digest, 'weights.safetensors');
    expect(refusalOf(await activate(edge, good.digest))).toMatch(/^422 release_refused: .*weights\.safetensors/);
    expect(rolloutResponse.parse((await operate(edge, '/v1/rollouts')).body).stable).toBe(other.digest);
  });

  test('a release too large to run is not activated, and what served before goes on serving', async () => {
    const edge = await start();
    const oversized = await signedRelease(key, oversizedContent());
    for (const release of [good, oversized]) await publish(edge, release);
    await activate(edge, good.digest);
    const message = 'it could not be loaded: Error: wasm: no memory for 5072563200 bytes';
    const refused = `422 release_refused: release ${oversized.digest}: ${message}`;
    expect(refusalOf(await activate(edge, oversized.digest))).toBe(refused);
    expect(await served(edge)).toBe(good.digest);
  });

  test('a worker whose next release went bad keeps serving the last one, raises an alert, and serves the next once it is whole', async () => {
    const edge = await start();
    for (const release of [good, other]) await publish(edge, release);
    await activate(edge, good.digest);
    expect(await served(edge)).toBe(good.digest);
    await corrupt(edge, other.digest, 'fingerprint.safetensors');
    await activateUnseen(edge, other.digest);
    const alerts = async () => alertsResponse.parse((await operate(edge, '/v1/alerts')).body).alerts;
    await eventually(async () => {
      expect(await served(edge)).toBe(good.digest);
      return (await alerts()).some(({ alert }) => alert.kind === 'release-refused');
    });
    const refused = (await alerts()).find(({ alert }) => alert.kind === 'release-refused');
    expect(refused).toMatchObject({ severity: 'critical', count: 1, alert: { release: other.digest } });
    await publish(edge, other);
    expect(await served(edge)).toBe(other.digest);
  }, 30_000);

  test('a worker that cannot read the rollout goes on with what it last said', async () => {
    const edge = await start();
    await publish(edge, good);
    await activate(edge, good.digest);
    await tellRollout(edge, 'set/rollout', ['nonsense']);
    await eventually(async () => {
      expect(await served(edge)).toBe(good.digest);
      return edge.logs.some((line) => line.includes('rollout_not_read'));
    });
    expect(await served(edge)).toBe(good.digest);
  }, 30_000);

  test('a cold worker does not serve a release that went bad, and says why', async () => {
    const edge = await restart();
    await corrupt(edge, good.digest, 'manifest.json');
    expect(refusalOf(await edge.send('GET', '/readyz'))).toMatch(/^503 not_ready: not ready: .*manifest\.json/);
    expect(await served(edge)).toMatch(/^503 not_ready: not ready: .*manifest\.json/);
    await publish(edge, good);
    expect(await served(edge)).toBe(good.digest);
  });

  test('a cold worker serves what was active, and requests that come at once share the load', async () => {
    const edge = await restart();
    expect(new Set(await Promise.all(Array.from({ length: 12 }, () => served(edge))))).toEqual(new Set([good.digest]));
  });

  test('a release stops serving when it expires', async () => {
    const edge = await start();
    const content = testContent(3);
    const expiresAt = new Date(Date.now() + 4000).toISOString();
    const release = await signedRelease(key, {
      ...content,
      manifest: { ...content.manifest, expiresAt },
    } as ReleaseContent);
    await publish(edge, release);
    await activate(edge, release.digest);
    expect(await served(edge)).toBe(release.digest);
    await eventually(async () => (await served(edge)) !== release.digest);
    expect(await served(edge)).toMatch(/^503 not_ready: not ready: .*expired/);
  });
});
