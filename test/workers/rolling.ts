/** Rollouts for tests of the edge: releases that answer alike, operators, clients on both sides of a percentage, and traffic. */
import { expect } from 'vitest';
import type * as z from 'zod';
import { alertsResponse } from '../../src/api/alerts.ts';
import { classifyResponse } from '../../src/api/classify.ts';
import { healthResponse, rolloutResponse } from '../../src/api/rollout.ts';
import type { ReleaseContent } from '../../src/release/release.ts';
import { BUCKETS, bucketOf } from '../../src/rollout/assign.ts';
import type { PlanStep } from '../../src/rollout/plan.ts';
import type { Operation } from '../../src/rollout/rollout.ts';
import { createKey, signedRelease, testContent } from '../support/release.ts';
import { activate, publish, refusalOf, sha256, TOKENS, type Answer, type Edge } from './edge.ts';

export const key = await createKey();
const made = testContent(1);
/** Its guard finds nothing, so that no alerts but the rollout's are raised. */
export const content: ReleaseContent = { ...made, guard: { ...made.guard, probeBias: Float32Array.of(-100, -100) } };

export type Release = Awaited<ReturnType<typeof signedRelease>>;
let releases = 0;
/** A release with the weights of another and a digest of its own. */
export function fresh(weightsOf: ReleaseContent = content): Promise<Release> {
  releases += 1;
  const createdAt = new Date(Date.UTC(2026, 0, 1, 0, 0, releases)).toISOString().replace('.000Z', 'Z');
  return signedRelease(key, { ...weightsOf, manifest: { ...weightsOf.manifest, createdAt } });
}

const token = TOKENS.operate;
type Rollout = z.infer<typeof rolloutResponse>;

export const rollout = async (edge: Edge): Promise<Rollout> =>
  rolloutResponse.parse((await edge.send('GET', '/v1/rollouts', { token })).body);

export const operate = (
  edge: Edge,
  operation: Operation,
  said: { reason?: string; expectedRevision?: number } = {},
): Promise<Answer> => edge.send('POST', '/v1/rollouts/operations', { token, body: { operation, ...said } });

/** Ends whatever runs, and makes a release serve everybody. */
export async function reset(edge: Edge, { digest }: Release): Promise<void> {
  if ((await rollout(edge)).canary) await operate(edge, 'abort');
  expect((await activate(edge, digest)).status).toBe(200);
}

/** What was counted of a release. */
export async function totalsOf(edge: Edge, { digest }: Release) {
  const { releases } = healthResponse.parse((await edge.send('GET', '/v1/health', { token })).body);
  return releases.find((release) => release.digest === digest)!.totals;
}

/** The alerts that the rollout of a release raised. */
export async function rolloutAlerts(edge: Edge, { digest }: Release) {
  const { body } = await edge.send('GET', '/v1/alerts?limit=100', { token });
  return alertsResponse
    .parse(body)
    .alerts.filter(({ alert }) => alert.release === digest && alert.kind.startsWith('rollout-'));
}

/** What cron does every minute. */
export async function tick(edge: Edge): Promise<void> {
  const worker = await edge.miniflare.getWorker();
  expect((await worker.scheduled({ cron: '* * * * *' })).outcome).toBe('ok');
}

export const step = (canaryPercent: number, times: Partial<PlanStep> = {}): PlanStep => {
  return { canaryPercent, holdSeconds: 0, minRequests: 200, deadlineSeconds: 600, ...times };
};

/** Stores a release and starts its rollout. */
export async function start(edge: Edge, release: Release, plan: readonly PlanStep[]): Promise<Rollout> {
  await publish(edge, release);
  const body = { digest: release.digest, plan, reason: 'test' };
  const answer = await edge.send('POST', '/v1/rollouts', { token, body });
  expect(answer.status, JSON.stringify(answer.body)).toBe(200);
  return rolloutResponse.parse(answer.body);
}

export type Pixels = number[][][];
/** A smooth image [8,8,1], different for each seed. */
export const pixelsOf = (seed: number): Pixels =>
  Array.from({ length: 8 }, (_, y) =>
    Array.from({ length: 8 }, (_, x) => [127 + 120 * Math.sin(seed + (8 * y + x) * seed)]),
  );

/** What to send beside the key of the client. */
type Asked = { pixels?: Pixels | undefined; pin?: string };

export const classify = (edge: Edge, client: string, { pixels = pixelsOf(1), pin }: Asked = {}): Promise<Answer> =>
  edge.send('POST', '/v1/classify', {
    token: TOKENS.classify,
    body: { pixels },
    headers: { 'x-client-key': client, ...(pin !== undefined && { 'x-release': pin }) },
  });

/** The release that answers a client, or the refusal. */
export async function releaseFor(edge: Edge, client: string, asked: Asked = {}): Promise<string> {
  const answer = await classify(edge, client, asked);
  return answer.status === 200 ? classifyResponse.parse(answer.body).release : refusalOf(answer);
}

/** Eight clients or more that fall below a percentage, and as many that do not, by the rule of assignment. */
export async function clientsAround(salt: string, percent: number): Promise<{ canary: string[]; stable: string[] }> {
  const clients = { canary: [] as string[], stable: [] as string[] };
  for (let index = 0; clients.canary.length < 8 || clients.stable.length < 8; index += 1) {
    const hash = sha256(`key:client-${index}`).slice(0, 32);
    const bucket = await bucketOf(salt, hash, crypto.subtle);
    clients[bucket < (percent / 100) * BUCKETS ? 'canary' : 'stable'].push(`client-${index}`);
  }
  return clients;
}

/** Counts reach the rollout every two seconds, so traffic that is sent as fast as a machine can says how fast it is, not how soon a verdict is reached. */
const BATCH_MS = 60;

/** Sends requests, eight at a time, until the rollout is where it should be or `limit` were sent; answers how many. */
export async function trafficUntil(
  edge: Edge,
  done: (rollout: Rollout) => boolean,
  limit: number,
  request: (index: number) => Promise<unknown>,
): Promise<number> {
  for (let sent = 0; sent < limit; sent += 40) {
    if (done(await rollout(edge))) return sent;
    for (let batch = 0; batch < 40; batch += 8) {
      const pause = new Promise((resolve) => setTimeout(resolve, BATCH_MS));
      await Promise.all([pause, ...Array.from({ length: 8 }, (_, index) => request(sent + batch + index))]);
    }
  }
  await eventually(async () => done(await rollout(edge)));
  return limit;
}

export async function eventually(check: () => Promise<boolean>): Promise<void> {
  while (!(await check())) await new Promise((resolve) => setTimeout(resolve, 100));
}

/** Speaks to the rollout object behind the worker's back. */
export async function tell(edge: Edge, path: string, argument: unknown = []): Promise<unknown> {
  const objects = await edge.miniflare.getDurableObjectNamespace('ROLLOUT');
  const headers = { 'do-content': JSON.stringify(argument) };
  const response = await objects.get(objects.idFromName('rollout')).fetch(`https://object/do/${path}`, { headers });
  expect(response.ok).toBe(true);
  return response.status === 204 ? undefined : response.json();
}
