/** The demo as a client: images and alerts over HTTP. */
import type * as z from 'zod';
import { alertsResponse } from '../../src/api/alerts.ts';
import { classifyResponse } from '../../src/api/classify.ts';
import { encodePng } from '../../src/image.ts';
import type { Dataset } from '../data/dataset.ts';
import type { Report } from '../progress.ts';

export type Answer = z.infer<typeof classifyResponse>;
export type Endpoint = { url: URL; token: string };

const AT_ONCE = 4;
const WARM_UP_ROUNDS = 150;
const ROUNDS = 500;

/** One image of a data set as a PNG. */
export function pngOf({ height, width, channels, images }: Dataset, index: number): Uint8Array<ArrayBuffer> {
  const size = height * width * channels;
  const data = images.subarray(index * size, (index + 1) * size);
  return new Uint8Array(encodePng({ height, width, channels, data }));
}

async function call(endpoint: Endpoint, path: string, init: RequestInit = {}): Promise<unknown> {
  const headers = { authorization: `Bearer ${endpoint.token}`, ...(init.body ? { 'content-type': 'image/png' } : {}) };
  const response = await fetch(new URL(path, endpoint.url), { ...init, headers });
  const text = await response.text();
  if (!response.ok) throw new Error(`the local worker answered ${path} with ${response.status}: ${text}`);
  return JSON.parse(text);
}

/** Classifies one PNG. */
export async function classify(endpoint: Endpoint, png: Uint8Array<ArrayBuffer>): Promise<Answer> {
  return classifyResponse.parse(await call(endpoint, '/v1/classify', { method: 'POST', body: png }));
}

/** Classifies every image of a data set, a few at a time; the answers are in their order. */
export async function classifyAll(endpoint: Endpoint, images: Dataset, report: Report): Promise<Answer[]> {
  const answers: Answer[] = [];
  let next = 0;
  const client = async (): Promise<void> => {
    while (next < images.count) {
      const index = next++;
      answers[index] = await classify(endpoint, pngOf(images, index));
      report({ step: next, steps: images.count });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, client));
  return answers;
}

/** The newest alerts. */
export async function latestAlerts(endpoint: Endpoint, limit: number) {
  return alertsResponse.parse(await call(endpoint, `/v1/alerts?limit=${limit}`)).alerts;
}

export type GuardCost = { guardedMs: number; unguardedMs: number; ratio: number; requests: number };

/**
 * What the guard costs: the same images to a guarded and an unguarded worker, one request at a time and in turns, so that
 * whatever else the machine does meets both; medians, after a warm-up in which the engine
 * compiles what is used most.
 */
export async function measureGuardCost(
  guarded: Endpoint,
  unguarded: Endpoint,
  images: Dataset,
  report: Report,
): Promise<GuardCost> {
  const times: Record<'guarded' | 'unguarded', number[]> = { guarded: [], unguarded: [] };
  const endpoints = { guarded, unguarded };
  for (let round = -WARM_UP_ROUNDS; round < ROUNDS; round++) {
    const png = pngOf(images, (round + WARM_UP_ROUNDS) % images.count);
    // Whoever comes second finds the caches warm, so they take turns at that too.
    const order = round % 2 === 0 ? (['guarded', 'unguarded'] as const) : (['unguarded', 'guarded'] as const);
    for (const which of order) {
      const began = performance.now();
      await call(endpoints[which], '/v1/classify', { method: 'POST', body: png });
      if (round >= 0) times[which].push(performance.now() - began);
    }
    report({ step: round + WARM_UP_ROUNDS, steps: ROUNDS + WARM_UP_ROUNDS });
  }
  const [guardedMs, unguardedMs] = [median(times.guarded), median(times.unguarded)];
  return { guardedMs, unguardedMs, ratio: guardedMs / unguardedMs, requests: ROUNDS };
}

const median = (values: readonly number[]): number => {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
};
