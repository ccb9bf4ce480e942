/**
 * Storage that is slow, fails, lacks files or returns others, under the bundle that ships: a module of the test stands in front of it and
 * wraps its bucket; the bundle itself is untouched.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import type { Bundle } from '../../offline/serve.ts';
import { shippedBundle } from '../support/bundle.ts';
import { classifyResponse } from '../../src/api/classify.ts';
import { RELEASE_FILES, SIGNATURE_FILE } from '../../src/release/manifest.ts';
import { createKey, signedRelease, testContent } from '../support/release.ts';
import { activate, publish, refusalOf, secrets, startEdge, TOKENS, type Edge } from './edge.ts';

/** POST /fault sets what the bucket does: `delayMs` before an answer, or `fails`, in calls of `method` on names that end in `name`. */
const WRAPPER = `
import worker from './index.js';
export * from './index.js';
let fault = {};
const faulty = (bucket) => new Proxy(bucket, {
  get: (target, method) => async (...args) => {
    if (fault.method === method && String(args[0]).endsWith(fault.name)) {
      if (fault.fails) throw new Error(method + ': Unspecified error (0)');
      await scheduler.wait(fault.delayMs);
    }
    return target[method](...args);
  },
});
export default {
  ...worker,
  async fetch(request, env, context) {
    if (new URL(request.url).pathname !== '/fault') {
      return worker.fetch(request, { ...env, RELEASES: faulty(env.RELEASES) }, context);
    }
    fault = await request.json();
    return Response.json({});
  },
};`;

const key = await createKey();
const good = await signedRelease(key, testContent(1));
const second = testContent(2);
// Another name, so that no file of the two releases is the same.
const triggers = second.guard.fingerprint.triggers.map((trigger) => ({ ...trigger, id: `${trigger.id}-second` }));
const fingerprint = { ...second.guard.fingerprint, triggers };
const other = await signedRelease(key, { ...second, guard: { ...second.guard, fingerprint } });
let bundle: Bundle;

beforeAll(async () => {
  bundle = [{ type: 'ESModule', path: 'faulty.js', contents: WRAPPER }, ...(await shippedBundle())];
});

async function start(folder?: string): Promise<Edge> {
  const edge = await startEdge(bundle, secrets(key), folder === undefined ? {} : { folder });
  onTestFinished(() => edge.miniflare.dispose());
  return edge;
}

type Fault = { method?: 'get' | 'put'; name?: string; fails?: true; delayMs?: number };
const setFault = (edge: Edge, fault: Fault) => edge.send('POST', '/fault', { body: fault });
const pixels = Array.from({ length: 8 }, () => Array.from({ length: 8 }, () => [10]));
const served = async (edge: Edge): Promise<string> => {
  const answer = await edge.send('POST', '/v1/classify', { token: TOKENS.classify, body: { pixels } });
  return answer.status === 200 ? classifyResponse.parse(answer.body).release : refusalOf(answer);
};
const pathOf = (digest: string, name: string): string => `releases/${digest}/${name}`;

/** A worker that has both releases and serves the first. */
async function startServing(folder?: string): Promise<Edge> {
  const edge = await start(folder);
  for (const release of [good, other]) expect((await publish(edge, release)).status).toBe(201);
  expect((await activate(edge, good.digest)).status).toBe(200);
  return edge;
}

describe('files in storage', () => {
  test('that are missing, damaged or of another release never begin to serve, and serve again once published anew', async () => {
    const edge = await startServing();
    const bucket = await edge.miniflare.getR2Bucket('RELEASES');
    for (const name of [...RELEASE_FILES, SIGNATURE_FILE]) {
      const path = pathOf(other.digest, name);
      const damaged = other.files.get(name)!.slice();
      damaged[damaged.length >> 1]! ^= 1;
      const changes = {
        missing: () => bucket.delete(path),
        damaged: () => bucket.put(path, damaged),
        swapped: () => bucket.put(path, good.files.get(name)!),
      };
      for (const [what, change] of Object.entries(changes)) {
        await change();
        const { status } = await activate(edge, other.digest);
        expect([404, 422], `${name} ${what}`).toContain(status);
        expect(await served(edge)).toBe(good.digest);
      }
      expect((await publish(edge, other)).status).toBeLessThan(300);
    }
    expect((await activate(edge, other.digest)).status).toBe(200);
    expect(await served(edge)).toBe(other.digest);
  });

  test('that are gone leave a warm isolate alone; a cold one fails closed, raises an alert, and recovers by publishing', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'trigger-guard-faults-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const warm = await startServing(folder);
    expect(await served(warm)).toBe(good.digest);
    const bucket = await warm.miniflare.getR2Bucket('RELEASES');
    await bucket.delete(pathOf(good.digest, 'fingerprint.safetensors'));
    expect(await served(warm)).toBe(good.digest);
    await warm.miniflare.dispose();
    const cold = await start(folder);
    expect(await served(cold)).toMatch(/^503 not_ready: not ready: .*fingerprint\.safetensors is not stored/);
    const { body } = await cold.send('GET', '/v1/alerts', { token: TOKENS.operate });
    expect(JSON.stringify(body)).toContain('release-refused');
    expect((await publish(cold, good)).status).toBe(200);
    expect(await served(cold)).toBe(good.digest);
  });
});

describe('storage', () => {
  test('that fails while a release is published leaves no release, and publishing again completes it', async () => {
    const edge = await start();
    for (const name of ['weights.safetensors', SIGNATURE_FILE]) {
      await setFault(edge, { method: 'put', name, fails: true });
      expect(refusalOf(await publish(edge, good))).toMatch(/^500 internal: /);
      expect(refusalOf(await activate(edge, good.digest))).toMatch(/^404 unknown_release: /);
      const { body } = await edge.send('GET', '/v1/releases', { token: TOKENS.publish });
      expect(body).toEqual({ releases: [] });
    }
    await setFault(edge, {});
    expect((await publish(edge, good)).status).toBe(201);
    expect((await activate(edge, good.digest)).status).toBe(200);
    expect(await served(edge)).toBe(good.digest);
  });

  test('that fails to read changes nothing for what serves, and the change comes when it is back', async () => {
    const edge = await startServing();
    await setFault(edge, { method: 'get', name: 'weights.safetensors', fails: true });
    expect((await activate(edge, other.digest)).status).toBeGreaterThanOrEqual(422);
    expect(await served(edge)).toBe(good.digest);
    await setFault(edge, {});
    expect((await activate(edge, other.digest)).status).toBe(200);
    expect(await served(edge)).toBe(other.digest);
  });

  test('that is slow makes only the first request of a cold isolate wait, and what serves goes on beside a load', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'trigger-guard-faults-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    await (await startServing(folder)).miniflare.dispose();
    const edge = await start(folder);
    await setFault(edge, { method: 'get', name: 'manifest.json', delayMs: 1500 });
    const asked = Array.from({ length: 6 }, () => served(edge));
    expect(new Set(await Promise.all(asked))).toEqual(new Set([good.digest]));
    const activating = activate(edge, other.digest);
    expect(await served(edge)).toBe(good.digest);
    expect((await activating).status).toBe(200);
    expect(await served(edge)).toBe(other.digest);
  });

  test('that never answers ends in an alert and a refusal after 10 s, not in waiting', async () => {
    const edge = await start();
    expect((await publish(edge, good)).status).toBe(201);
    await setFault(edge, { method: 'get', name: 'manifest.json', delayMs: 120_000 });
    const refused = refusalOf(await activate(edge, good.digest));
    expect(refused).toMatch(/^422 release_refused: .*it was not read within 10 s/);
    expect(await served(edge)).toBe('503 not_ready: not ready: no release is active');
  }, 40_000);
});

test('a release of a publisher whose clock is a day ahead is taken: only its expiry is judged here', async () => {
  const edge = await start();
  const { manifest, ...content } = testContent(3);
  const createdAt = new Date(Date.now() + 86_400_000).toISOString();
  const ahead = await signedRelease(key, { ...content, manifest: { ...manifest, createdAt } });
  expect((await publish(edge, ahead)).status).toBe(201);
  expect((await activate(edge, ahead.digest)).status).toBe(200);
  expect(await served(edge)).toBe(ahead.digest);
});
