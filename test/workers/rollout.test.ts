import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import type * as z from 'zod';
import { bundleWorker, type Bundle } from '../../offline/serve.ts';
import { alertsResponse } from '../../src/api/alerts.ts';
import { classifyResponse } from '../../src/api/classify.ts';
import { healthResponse, rolloutResponse } from '../../src/api/rollout.ts';
import type { ReleaseContent } from '../../src/release/release.ts';
import { BUCKETS, bucketOf } from '../../src/rollout/assign.ts';
import type { Operation } from '../../src/rollout/rollout.ts';
import { createKey, signedRelease, testContent } from '../support/release.ts';
import { activate, publish, refusalOf, secrets, sha256, startEdge, TOKENS, type Answer, type Edge } from './edge.ts';
import { offlineAnswer } from './offline.ts';

const key = await createKey();
const made = testContent(1);
/** Its guard finds nothing, so that no alerts but the rollout's are raised. */
const content = { ...made, guard: { ...made.guard, probeBias: Float32Array.of(-100, -100) } };
let releases = 0;
/** A release with the weights of another and a digest of its own. */
const fresh = (weightsOf: ReleaseContent = content) => {
  releases += 1;
  const createdAt = new Date(Date.UTC(2026, 0, 1, 0, 0, releases)).toISOString().replace('.000Z', 'Z');
  return signedRelease(key, { ...weightsOf, manifest: { ...weightsOf.manifest, createdAt } });
};
const stable = await fresh();

let bundle: Bundle;
let edge: Edge;
beforeAll(async () => {
  bundle = await bundleWorker();
  edge = await startEdge(bundle, secrets(key));
  await publish(edge, stable);
});
afterAll(() => edge.miniflare.dispose());
beforeEach(async () => {
  if ((await rollout()).canary) await operate('abort');
  expect((await activate(edge, stable.digest)).status).toBe(200);
});

type Rollout = z.infer<typeof rolloutResponse>;
const token = TOKENS.operate;
const rollout = async (at = edge): Promise<Rollout> =>
  rolloutResponse.parse((await at.send('GET', '/v1/rollouts', { token })).body);
const operate = (operation: Operation, said: { reason?: string; expectedRevision?: number } = {}, at = edge) =>
  at.send('POST', '/v1/rollouts/operations', { token, body: { operation, ...said } });
const health = async () => healthResponse.parse((await edge.send('GET', '/v1/health', { token })).body).releases;
const tick = async (at = edge): Promise<void> => {
  const worker = await at.miniflare.getWorker();
  expect((await worker.scheduled({ cron: '* * * * *' })).outcome).toBe('ok');
};

const step = (canaryPercent: number, times: { holdSeconds?: number; deadlineSeconds?: number } = {}) => {
  return { canaryPercent, holdSeconds: 0, minRequests: 200, deadlineSeconds: 600, ...times };
};
type Release = Awaited<ReturnType<typeof fresh>>;
async function start(release: Release, plan: ReturnType<typeof step>[], at = edge): Promise<Rollout> {
  await publish(at, release);
  const answer = await at.send('POST', '/v1/rollouts', {
    token,
    body: { digest: release.digest, plan, reason: 'test' },
  });
  expect(answer.status, JSON.stringify(answer.body)).toBe(200);
  return rolloutResponse.parse(answer.body);
}

type Pixels = number[][][];
const pixelsOf = (seed: number): Pixels =>
  Array.from({ length: 8 }, (_, y) =>
    Array.from({ length: 8 }, (_, x) => [127 + 120 * Math.sin(seed + (8 * y + x) * seed)]),
  );
const plain = pixelsOf(1);
const classify = (client: string, pixels = plain, headers: Record<string, string> = {}, at = edge): Promise<Answer> =>
  at.send('POST', '/v1/classify', {
    token: TOKENS.classify,
    body: { pixels },
    headers: { 'x-client-key': client, ...headers },
  });
const releaseFor = async (client: string, headers: Record<string, string> = {}, at = edge): Promise<string> => {
  const answer = await classify(client, plain, headers, at);
  return answer.status === 200 ? classifyResponse.parse(answer.body).release : refusalOf(answer);
};

/** Clients that fall below and above a percentage, by the published rule of assignment. */
async function clientsAround(salt: string, percent: number): Promise<{ canary: string[]; stable: string[] }> {
  const clients = { canary: [] as string[], stable: [] as string[] };
  for (let index = 0; clients.canary.length < 8 || clients.stable.length < 8; index += 1) {
    const hash = sha256(`key:client-${index}`).slice(0, 32);
    const bucket = await bucketOf(salt, hash, crypto.subtle);
    clients[bucket < (percent / 100) * BUCKETS ? 'canary' : 'stable'].push(`client-${index}`);
  }
  return clients;
}

/** Sends requests, eight at a time, until the rollout is no longer where it was or `limit` were sent; answers how many. */
async function trafficUntil(
  done: (rollout: Rollout) => boolean,
  limit: number,
  request: (index: number) => Promise<unknown>,
) {
  for (let sent = 0; sent < limit; sent += 40) {
    if (done(await rollout())) return sent;
    for (let batch = 0; batch < 40; batch += 8) {
      await Promise.all(Array.from({ length: 8 }, (_, index) => request(sent + batch + index)));
    }
  }
  await eventually(async () => done(await rollout()));
  return limit;
}

async function eventually(check: () => Promise<boolean>): Promise<void> {
  while (!(await check())) await new Promise((resolve) => setTimeout(resolve, 100));
}

const alertsOf = async (digest: string) =>
  alertsResponse
    .parse((await edge.send('GET', '/v1/alerts?limit=100', { token })).body)
    .alerts.filter(({ alert }) => alert.release === digest && alert.kind.startsWith('rollout-'));

/** Images on which two contents agree, and such on which they do not. */
async function imagesBy(a: ReleaseContent, b: ReleaseContent): Promise<{ alike: Pixels[]; unlike: Pixels[] }> {
  const images = { alike: [] as Pixels[], unlike: [] as Pixels[] };
  const label = async (content: ReleaseContent, pixels: Pixels) => {
    const { scores } = await offlineAnswer(
      content,
      Float32Array.from(pixels.flat(2), (value) => value / 255),
    );
    return scores.indexOf(Math.max(...scores));
  };
  for (let seed = 1; seed < 200 && (images.alike.length < 7 || images.unlike.length < 3); seed += 1) {
    const pixels = pixelsOf(seed);
    images[(await label(a, pixels)) === (await label(b, pixels)) ? 'alike' : 'unlike'].push(pixels);
  }
  return { alike: images.alike.slice(0, 7), unlike: images.unlike.slice(0, 3) };
}

describe('a canary', () => {
  test('with wrong weights that disagrees on 30 % of the images is taken back within 500 of its requests, with one alert', async () => {
    // The guard and the confidence stay as they are, so that the labels alone tell: two labels change places.
    const wrong = withSwappedLabels(content);
    const { alike, unlike } = await imagesBy(content, wrong);
    const images = [...alike, ...unlike];
    expect(images.length).toBe(10);
    const bad = await fresh(wrong);
    const { canary } = await start(bad, [step(5)]);
    const clients = await clientsAround(canary!.salt, 5);
    const sent = await trafficUntil(
      ({ phase }) => phase === 'rolled-back',
      500,
      async (index) => {
        await classify(clients.canary[index % 8]!, images[(index * 7) % 10]);
        await classify(clients.stable[index % 8]!, images[index % 10]);
      },
    );
    expect(sent).toBeLessThan(500);
    const state = await rollout();
    expect(state).toMatchObject({ stable: stable.digest, canary: null });
    expect(state.history.at(-1)).toMatchObject({ type: 'roll-back', digest: bad.digest, actor: 'rollout' });
    expect(state.history.at(-1)!.reason).toMatch(/^disagreement with stable: \d+ of \d+/);
    expect(await releaseFor(clients.canary[0]!)).toBe(stable.digest);
    expect(refusalOf(await classify('any', plain, { 'x-release': bad.digest }))).toMatch(/^422 release_not_served: /);
    expect(refusalOf(await activate(edge, bad.digest))).toMatch(/^409 rollout_conflict: release .* failed at revision/);
    await eventually(async () => (await alertsOf(bad.digest)).length > 0);
    await tick();
    expect(await alertsOf(bad.digest)).toMatchObject([{ count: 1, alert: { kind: 'rollout-rolled-back' } }]);
  });

  test('as good as stable goes through its steps and serves everybody without a person, and no client moves back', async () => {
    const good = await fresh();
    const { canary } = await start(good, [step(5), step(50, { holdSeconds: 1 })]);
    const clients = await clientsAround(canary!.salt, 5);
    const seen = new Set<string>();
    const sent = await trafficUntil(
      ({ phase }) => phase === 'promoted',
      3000,
      async (index) => {
        const release = await releaseFor(clients.canary[index % 8]!);
        seen.add(release);
        await classify(clients.stable[index % 8]!);
      },
    );
    expect(sent).toBeLessThan(3000);
    expect([...seen]).toEqual([good.digest]);
    const { stable: now, history } = await rollout();
    expect(now).toBe(good.digest);
    expect(
      history.slice(-3).map(({ type, canaryPercent, actor }) => [type, canaryPercent, actor.split(':')[0]]),
    ).toEqual([
      ['start', 5, 'operate'],
      ['advance', 50, 'rollout'],
      ['promote', 100, 'rollout'],
    ]);
    expect(await alertsOf(good.digest)).toEqual([]);
    const [counted] = (await health()).filter(({ digest }) => digest === good.digest);
    expect(counted!.totals.requests).toBeGreaterThanOrEqual(400);
    expect(counted!.totals.compared).toBeGreaterThanOrEqual(150);
    expect(counted!.totals).toMatchObject({ disagreed: 0, verdictsDiffered: 0, errors: { guard: 0, load: 0 } });
    expect(counted!.totals.latency.reduce((sum, bucket) => sum + bucket, 0)).toBe(counted!.totals.requests);
  });

  test('that nobody asks is paused as inconclusive with an alert, and goes on when it is resumed', async () => {
    const idle = await fresh();
    await start(idle, [step(5, { deadlineSeconds: 1 })]);
    await new Promise((resolve) => setTimeout(resolve, 1100));
    await tick();
    const { phase, canary, history } = await rollout();
    expect([phase, history.at(-1)?.type]).toEqual(['paused', 'pause']);
    expect(canary?.paused?.reason).toBe('inconclusive after 1 s: 0 of at least 200 requests');
    await eventually(async () => (await alertsOf(idle.digest)).length > 0);
    expect(await alertsOf(idle.digest)).toMatchObject([{ severity: 'warning', alert: { kind: 'rollout-paused' } }]);
    expect((await operate('resume', { reason: 'once more' })).status).toBe(200);
    expect((await rollout()).phase).toBe('running');
  });

  test('in shadow answers nobody, but runs beside stable and is compared', async () => {
    const shadow = await fresh();
    const { canary } = await start(shadow, [step(0), step(5)]);
    const clients = await clientsAround(canary!.salt, 5);
    const seen = new Set<string>();
    const sent = await trafficUntil(
      ({ canary }) => canary?.stepIndex === 1,
      2000,
      async (index) => {
        seen.add(await releaseFor(clients.stable[index % 8]!));
      },
    );
    expect(sent).toBeLessThan(2000);
    expect([...seen]).toEqual([stable.digest]);
    expect(await releaseFor(clients.canary[0]!)).toBe(shadow.digest);
    const [counted] = (await health()).filter(({ digest }) => digest === shadow.digest);
    expect(counted!.totals.compared).toBeGreaterThanOrEqual(200);
  });

  test('that went bad in storage costs no client an answer, but is taken back for its errors', async () => {
    const lost = await fresh();
    await publish(edge, lost);
    await (await edge.miniflare.getR2Bucket('RELEASES')).delete(`releases/${lost.digest}/weights.safetensors`);
    const command = { type: 'start', digest: lost.digest, plan: [step(100)], actor: 'test', reason: 'unseen' };
    await tell('call/apply', [encodeURIComponent(JSON.stringify(command))]);
    const sent = await trafficUntil(
      ({ phase }) => phase === 'rolled-back',
      4000,
      async (index) => {
        expect(await releaseFor(`client-${index}`)).toBe(stable.digest);
      },
    );
    expect(sent).toBeLessThan(4000);
    expect((await rollout()).history.at(-1)!.reason).toMatch(/^errors: (\d+) of \1,/);
  });
});

/** Speaks to the rollout object behind the worker's back. */
async function tell(path: string, argument: unknown, at = edge): Promise<void> {
  const objects = await at.miniflare.getDurableObjectNamespace('ROLLOUT');
  const headers = { 'do-content': JSON.stringify(argument) };
  const response = await objects.get(objects.idFromName('rollout')).fetch(`https://object/do/${path}`, { headers });
  expect(response.ok).toBe(true);
}

/** The first two labels change places in the head of the purified network. */
function withSwappedLabels(content: ReleaseContent): ReleaseContent {
  const weights = new Map(content.weights);
  for (const name of ['logits/kernel', 'logits/bias']) {
    const tensor = weights.get(name)!;
    const data = new Float32Array(tensor.data);
    for (let row = 0; row < data.length; row += 3) [data[row], data[row + 1]] = [data[row + 1]!, data[row]!];
    weights.set(name, { ...tensor, dtype: 'F32', data });
  }
  return { ...content, weights };
}

describe('clients', () => {
  test('keep their release by key, and may pin the stable release or the canary only', async () => {
    const candidate = await fresh();
    const { canary } = await start(candidate, [step(30)]);
    const clients = await clientsAround(canary!.salt, 30);
    for (let round = 0; round < 2; round += 1) {
      for (const client of clients.canary.slice(0, 4)) expect(await releaseFor(client)).toBe(candidate.digest);
      for (const client of clients.stable.slice(0, 4)) expect(await releaseFor(client)).toBe(stable.digest);
    }
    const [client] = clients.stable as [string];
    expect(await releaseFor(client, { 'x-release': candidate.digest })).toBe(candidate.digest);
    expect(await releaseFor(clients.canary[0]!, { 'x-release': stable.digest })).toBe(stable.digest);
    const stranger = await releaseFor(client, { 'x-release': '0'.repeat(64) });
    expect(stranger).toBe('422 release_not_served: x-release: expected the stable release or the canary, got another');
    expect(await releaseFor(client, { 'x-release': 'latest' })).toMatch(/^400 invalid_digest: x-release: /);
  });
});

describe('operators', () => {
  test('of whom two act at once on one view do not undo each other: the second is refused', async () => {
    const { revision } = await start(await fresh(), [step(5)]);
    const answers = await Promise.all([
      operate('pause', { expectedRevision: revision, reason: 'one' }),
      operate('promote', { expectedRevision: revision, reason: 'two' }),
    ]);
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 409]);
    const refused = answers.find(({ status }) => status === 409)!;
    expect(refusalOf(refused)).toBe(
      `409 rollout_conflict: the rollout is at revision ${revision + 1}, not at ${revision}: look at it again`,
    );
    expect((await rollout()).revision).toBe(revision + 1);
  });

  test('promote and undo, abort, roll back by hand; each change says who and why', async () => {
    const candidate = await fresh();
    const served = async () => (await rollout()).stable;
    await start(candidate, [step(5)]);
    expect((await operate('promote', { reason: 'sure' })).status).toBe(200);
    expect([await served(), await releaseFor('x')]).toEqual([candidate.digest, candidate.digest]);
    await operate('undo', { reason: 'not so sure' });
    expect([await served(), await releaseFor('x')]).toEqual([stable.digest, stable.digest]);
    await start(candidate, [step(100)]);
    expect(await releaseFor('x')).toBe(candidate.digest);
    await operate('roll-back', { reason: 'by hand' });
    expect(await releaseFor('x')).toBe(stable.digest);
    const { history, failed } = await rollout();
    expect(failed.at(-1)).toMatchObject({ digest: candidate.digest, reason: 'by hand' });
    expect(history.slice(-5).map(({ type, reason }) => `${type}: ${reason}`)).toEqual([
      'start: test',
      'promote: sure',
      'undo: not so sure',
      'start: test',
      'roll-back: by hand',
    ]);
    expect(history.at(-1)!.actor).toMatch(/^operate:[0-9a-f]{8}$/);
    expect(refusalOf(await operate('pause'))).toBe('409 rollout_conflict: no rollout is running that one could pause');
  });
});

describe('the rollout object', () => {
  test('that cannot be reached stops nobody: canary and stable go on for their clients', async () => {
    const candidate = await fresh();
    const { canary } = await start(candidate, [step(50)]);
    const clients = await clientsAround(canary!.salt, 50);
    const broken = edge.logs.length;
    const stored = await currentOf(edge);
    await tell('set/rollout', ['nonsense']);
    onTestFinished(() => tell('set/rollout', stored));
    await eventually(async () => {
      expect(await releaseFor(clients.canary[0]!)).toBe(candidate.digest);
      expect(await releaseFor(clients.stable[0]!)).toBe(stable.digest);
      return edge.logs.slice(broken).some((line) => line.includes('rollout_not_read'));
    });
    expect(await releaseFor(clients.canary[1]!)).toBe(candidate.digest);
  });

  test('goes on after a restart in the middle of a rollout, and reads what the code before canaries stored', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'trigger-guard-edge-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const first = await startEdge(bundle, secrets(key), { folder });
    await publish(first, stable);
    const change = { type: 'activate', digest: stable.digest, previous: null, actor: 'publish:1', reason: '' };
    const old = {
      revision: 1,
      stable: stable.digest,
      history: [{ ...change, revision: 1, at: '2026-01-01T00:00:00.000Z' }],
    };
    await tell('set/rollout', old, first);
    await tell('call/persist', [], first);
    await first.miniflare.dispose();

    const second = await startEdge(bundle, secrets(key), { folder });
    expect(await releaseFor('x', {}, second)).toBe(stable.digest);
    const candidate = await fresh();
    const { canary, history } = await start(candidate, [step(50)], second);
    expect(history.map(({ type }) => type)).toEqual(['activate', 'start']);
    const before = await rollout(second);
    await second.miniflare.dispose();

    const third = await startEdge(bundle, secrets(key), { folder });
    onTestFinished(() => third.miniflare.dispose());
    expect(await rollout(third)).toEqual(before);
    const clients = await clientsAround(canary!.salt, 50);
    expect(await releaseFor(clients.canary[0]!, {}, third)).toBe(candidate.digest);
    expect(await releaseFor(clients.stable[0]!, {}, third)).toBe(stable.digest);
  });
});

/** The state that the object holds. */
async function currentOf(at: Edge): Promise<unknown> {
  const objects = await at.miniflare.getDurableObjectNamespace('ROLLOUT');
  const response = await objects.get(objects.idFromName('rollout')).fetch('https://object/do/call/current');
  return response.json();
}
