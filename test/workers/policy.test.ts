import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Bundle } from '../../offline/serve.ts';
import { shippedBundle } from '../support/bundle.ts';
import { alertsResponse } from '../../src/api/alerts.ts';
import { createKey, signedRelease } from '../support/release.ts';
import { activate, publish, refusalOf, secrets, startEdge, TOKENS, type Edge } from './edge.ts';
import { mixedRelease, nestedPixels } from './mixed.ts';

const key = await createKey();
const { content, clean, suspect } = await mixedRelease();
const release = await signedRelease(key, content);
const edges: Edge[] = [];
let bundle: Bundle;

async function serve(policy: string): Promise<Edge> {
  const edge = await startEdge(bundle, { ...secrets(key), GUARD_POLICY: policy });
  edges.push(edge);
  expect((await publish(edge, release)).status).toBe(201);
  expect((await activate(edge, release.digest)).status).toBe(200);
  return edge;
}

const ask = (edge: Edge, image: Uint8Array) =>
  edge.send('POST', '/v1/classify', { token: TOKENS.classify, body: { pixels: nestedPixels(image) } });
const askBatch = (edge: Edge, images: Uint8Array[]) =>
  edge.send('POST', '/v1/classify/batch', { token: TOKENS.classify, body: { images: images.map(nestedPixels) } });

async function alertCount(edge: Edge): Promise<number> {
  const { body } = await edge.send('GET', '/v1/alerts', { token: TOKENS.operate });
  const matches = alertsResponse.parse(body).alerts.filter(({ alert }) => alert.kind === 'trigger-match');
  return matches.reduce((total, { count }) => total + count, 0);
}

beforeAll(async () => {
  bundle = await shippedBundle();
});
afterAll(() => Promise.all(edges.map(({ miniflare }) => miniflare.dispose())));

describe('the policy', () => {
  test('flag answers and marks, in the body and in headers, one entry an image', async () => {
    const edge = await serve('flag');
    const marked = await ask(edge, suspect);
    expect(marked.status).toBe(200);
    expect(marked.body).toMatchObject({ guard: { verdict: 'suspect' } });
    expect(marked.headers.get('x-guard-verdict')).toBe('suspect');
    expect(marked.headers.get('x-guard-trigger')).toMatch(/^[a-z0-9-]+$/);
    expect(marked.headers.get('x-release')).toBe(release.digest);
    const unmarked = await ask(edge, clean);
    expect(unmarked.headers.get('x-guard-verdict')).toBe('clean');
    expect(unmarked.headers.has('x-guard-trigger')).toBe(false);
    const batch = await askBatch(edge, [clean, suspect]);
    expect(batch.headers.get('x-guard-verdict')).toBe('clean, suspect');
    expect(batch.headers.get('x-guard-trigger')).toMatch(/^-, [a-z0-9-]+$/);
  });

  test('block answers a suspect with 422 and the reason, the whole batch too, and clean images as ever', async () => {
    const edge = await serve('block');
    const blocked = await ask(edge, suspect);
    expect(refusalOf(blocked)).toMatch(
      /^422 suspect_input: blocked: the image carries the trigger [a-z0-9-]+ \(p-value 0\.\d+\)$/,
    );
    expect(blocked.headers.get('x-guard-verdict')).toBe('suspect');
    expect(blocked.headers.get('x-release')).toBe(release.digest);
    expect(JSON.stringify(blocked.body)).not.toMatch(/label"|scores/);
    expect(refusalOf(await askBatch(edge, [clean, suspect]))).toMatch(/^422 suspect_input: blocked: image 1 carries/);
    expect((await askBatch(edge, [clean, clean])).status).toBe(200);
    expect((await ask(edge, clean)).body).toMatchObject({ guard: { verdict: 'clean' } });
    expect(await alertCount(edge)).toBeGreaterThanOrEqual(2);
  });

  test('shadow answers without a mark, and records all the same', async () => {
    const edge = await serve('shadow');
    for (const seed of [suspect, clean]) {
      const { status, headers, body } = await ask(edge, seed);
      expect(status).toBe(200);
      expect(body).not.toHaveProperty('guard');
      expect([...headers.keys()].filter((name) => name.startsWith('x-guard'))).toEqual([]);
    }
    expect(await alertCount(edge)).toBeGreaterThanOrEqual(1);
  });

  test('that is none of the three refuses every image, and the worker is not ready', async () => {
    const edge = await serve('blok');
    const reason = 'GUARD_POLICY: expected flag, block, shadow, got "blok"';
    expect(refusalOf(await ask(edge, clean))).toBe(`500 misconfigured: ${reason}`);
    expect(refusalOf(await edge.send('GET', '/readyz'))).toBe(`503 not_ready: not ready: ${reason}`);
  });
});
