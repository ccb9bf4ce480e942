import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Bundle } from '../../offline/serve.ts';
import { shippedBundle } from '../support/bundle.ts';
import { retroHuntResponse } from '../../src/api/retro-hunt.ts';
import { createKey, signedRelease, testContent } from '../support/release.ts';
import { activate, publish, refusalOf, secrets, sha256, startEdge, TOKENS, type Edge } from './edge.ts';
import { offlineAnswer } from './offline.ts';
import { until } from './receiver.ts';

const KEPT = 40;
const IMAGES = 24;
const key = await createKey();
const content = testContent();
let bundle: Bundle;
let edge: Edge;

beforeAll(async () => {
  bundle = await shippedBundle();
  edge = await startEdge(bundle, { ...secrets(key), RETRO_HUNT_REQUESTS: String(KEPT) });
  const release = await signedRelease(key, content);
  await publish(edge, release);
  await activate(edge, release.digest);
});
afterAll(() => edge.miniflare.dispose());

const bytesOf = (seed: number): number[] =>
  Array.from({ length: 64 }, (_, index) => Math.round(127 + 120 * Math.sin(seed + index * 0.7 * seed)));

async function classify(at: Edge, seed: number, client: string): Promise<void> {
  const bytes = bytesOf(seed);
  const pixels = Array.from({ length: 8 }, (_, y) => Array.from({ length: 8 }, (_, x) => [bytes[8 * y + x]!]));
  const headers = {
    authorization: `Bearer ${TOKENS.classify}`,
    'content-type': 'application/json',
    'x-client-key': client,
  };
  const response = await fetch(new URL('/v1/classify', at.url), {
    method: 'POST',
    headers,
    body: JSON.stringify({ pixels }),
  });
  await response.arrayBuffer();
}

async function hunt(at: Edge, digest: string) {
  const { status, body } = await at.send('POST', '/v1/retro-hunts', { token: TOKENS.operate, body: { digest } });
  expect(status, JSON.stringify(body)).toBe(200);
  return retroHuntResponse.parse(body);
}

test('a fingerprint published later finds in past traffic the images that it would have flagged, and whose they were', async () => {
  const startedMs = Date.now();
  for (let seed = 1; seed <= IMAGES; seed += 1) await classify(edge, seed, seed % 3 === 0 ? 'mallory' : 'alice');
  const later = { ...content, guard: testContent(2).guard };
  const scores = await Promise.all(
    Array.from({ length: IMAGES }, async (_, index) => {
      const image = Float32Array.from(bytesOf(index + 1), (byte) => byte / 255);
      return Math.max(...(await offlineAnswer(later, image)).probeScores);
    }),
  );
  // A threshold in the widest gap of the middle, which eight bits cannot blur.
  const sorted = scores.toSorted((a, b) => a - b);
  const middle = sorted.slice(6, 18).map((score, index) => [sorted[index + 7]! - score, score] as const);
  const [gap, below] = middle.toSorted(([a], [b]) => b - a)[0]!;
  const threshold = below + gap / 2;
  const fingerprint = { ...later.guard.fingerprint, threshold };
  const release = await signedRelease(key, { ...later, guard: { ...later.guard, fingerprint } });
  await publish(edge, release);
  await until(async () => (await hunt(edge, release.digest)).judged === IMAGES);

  const found = await hunt(edge, release.digest);
  const matched = scores.flatMap((score, index) => (score > threshold ? [index + 1] : []));
  expect(matched.length).toBeGreaterThan(4);
  expect(found).toMatchObject({ kept: IMAGES, notComparable: 0, matches: matched.length });
  const hashOf = (client: string): string => sha256(`key:${client}`).slice(0, 32);
  const mallory = matched.filter((seed) => seed % 3 === 0).length;
  const expected = [
    { clientKeyHash: hashOf('alice'), matches: matched.length - mallory },
    { clientKeyHash: hashOf('mallory'), matches: mallory },
  ].filter(({ matches }) => matches > 0);
  expect(found.clients).toHaveLength(expected.length);
  for (const client of expected) expect(found.clients).toContainEqual(client);
  for (const instant of [found.oldest, found.firstMatch, found.lastMatch]) {
    expect(Date.parse(instant!)).toBeGreaterThanOrEqual(startedMs);
    expect(Date.parse(instant!)).toBeLessThanOrEqual(Date.now());
  }
});

test('nothing is said of images that came through another trunk, and how many they are is', async () => {
  const other = await signedRelease(key, testContent(3));
  await publish(edge, other);
  expect(await hunt(edge, other.digest)).toMatchObject({
    kept: IMAGES,
    judged: 0,
    notComparable: IMAGES,
    matches: 0,
    oldest: null,
    firstMatch: null,
    clients: [],
  });
});

test('no more images are kept than asked for: the oldest go', async () => {
  for (let seed = 100; seed < 100 + KEPT; seed += 1) await classify(edge, seed, 'alice');
  const { digest } = await signedRelease(key, content);
  await until(async () => {
    const { kept, oldest } = await hunt(edge, digest);
    expect(kept).toBeLessThanOrEqual(KEPT);
    return kept > IMAGES && oldest !== null;
  });
});

test('an unknown release gets 404, and without RETRO_HUNT_REQUESTS nothing is kept', async () => {
  const unknown = await edge.send('POST', '/v1/retro-hunts', {
    token: TOKENS.operate,
    body: { digest: 'f'.repeat(64) },
  });
  expect(refusalOf(unknown)).toMatch(/^404 unknown_release: /);
  const off = await startEdge(bundle, secrets(key));
  try {
    const release = await signedRelease(key, content);
    await publish(off, release);
    await activate(off, release.digest);
    await classify(off, 1, 'alice');
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    expect(await hunt(off, release.digest)).toMatchObject({ kept: 0, judged: 0 });
  } finally {
    await off.miniflare.dispose();
  }
});
