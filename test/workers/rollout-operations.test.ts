import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import type { Bundle } from '../../offline/serve.ts';
import { shippedBundle } from '../support/bundle.ts';
import { publish, refusalOf, secrets, startEdge, type Edge } from './edge.ts';
import {
  clientsAround,
  eventually,
  fresh,
  key,
  operate,
  releaseFor,
  reset,
  rollout,
  start,
  step,
  tell,
} from './rolling.ts';

const stable = await fresh();

let bundle: Bundle;
let edge: Edge;
beforeAll(async () => {
  bundle = await shippedBundle();
  edge = await startEdge(bundle, secrets(key));
  await publish(edge, stable);
});
afterAll(() => edge.miniflare.dispose());
beforeEach(async () => {
  await reset(edge, stable);
});

describe('clients', () => {
  test('keep their release by key, and may pin the stable release or the canary only', async () => {
    const candidate = await fresh();
    const { canary } = await start(edge, candidate, [step(30)]);
    const clients = await clientsAround(canary!.salt, 30);
    for (let round = 0; round < 2; round += 1) {
      for (const client of clients.canary.slice(0, 4)) expect(await releaseFor(edge, client)).toBe(candidate.digest);
      for (const client of clients.stable.slice(0, 4)) expect(await releaseFor(edge, client)).toBe(stable.digest);
    }
    const [client] = clients.stable as [string];
    expect(await releaseFor(edge, client, { pin: candidate.digest })).toBe(candidate.digest);
    expect(await releaseFor(edge, clients.canary[0]!, { pin: stable.digest })).toBe(stable.digest);
    const stranger = await releaseFor(edge, client, { pin: '0'.repeat(64) });
    expect(stranger).toBe('422 release_not_served: x-release: expected the stable release or the canary, got another');
    expect(await releaseFor(edge, client, { pin: 'latest' })).toMatch(/^400 invalid_digest: x-release: /);
  });
});

describe('operators', () => {
  test('of whom two act at once on one view do not undo each other: the second is refused', async () => {
    const { revision } = await start(edge, await fresh(), [step(5)]);
    const answers = await Promise.all([
      operate(edge, 'pause', { expectedRevision: revision, reason: 'one' }),
      operate(edge, 'promote', { expectedRevision: revision, reason: 'two' }),
    ]);
    expect(answers.map(({ status }) => status).sort((a, b) => a - b)).toEqual([200, 409]);
    const refused = answers.find(({ status }) => status === 409)!;
    expect(refusalOf(refused)).toBe(
      `409 rollout_conflict: the rollout is at revision ${revision + 1}, not at ${revision}: look at it again`,
    );
    expect((await rollout(edge)).revision).toBe(revision + 1);
  });

  test('promote and undo, abort, roll back by hand; each change says who and why', async () => {
    const candidate = await fresh();
    const served = async () => (await rollout(edge)).stable;
    await start(edge, candidate, [step(5)]);
    expect((await operate(edge, 'promote', { reason: 'sure' })).status).toBe(200);
    expect([await served(), await releaseFor(edge, 'x')]).toEqual([candidate.digest, candidate.digest]);
    await operate(edge, 'undo', { reason: 'not so sure' });
    expect([await served(), await releaseFor(edge, 'x')]).toEqual([stable.digest, stable.digest]);
    await start(edge, candidate, [step(100)]);
    expect(await releaseFor(edge, 'x')).toBe(candidate.digest);
    await operate(edge, 'roll-back', { reason: 'by hand' });
    expect(await releaseFor(edge, 'x')).toBe(stable.digest);
    const { history, failed } = await rollout(edge);
    expect(failed.at(-1)).toMatchObject({ digest: candidate.digest, reason: 'by hand' });
    expect(history.slice(-5).map(({ type, reason }) => `${type}: ${reason}`)).toEqual([
      'start: test',
      'promote: sure',
      'undo: not so sure',
      'start: test',
      'roll-back: by hand',
    ]);
    expect(history.at(-1)!.actor).toMatch(/^operate:[0-9a-f]{8}$/);
    expect(refusalOf(await operate(edge, 'pause'))).toBe(
      '409 rollout_conflict: no rollout is running that one could pause',
    );
  });
});

describe('the rollout object', () => {
  test('that cannot be reached stops nobody: canary and stable go on for their clients', async () => {
    const candidate = await fresh();
    const { canary } = await start(edge, candidate, [step(50)]);
    const clients = await clientsAround(canary!.salt, 50);
    const broken = edge.logs.length;
    const stored = await tell(edge, 'call/current');
    await tell(edge, 'set/rollout', ['nonsense']);
    onTestFinished(async () => {
      await tell(edge, 'set/rollout', stored);
    });
    await eventually(async () => {
      expect(await releaseFor(edge, clients.canary[0]!)).toBe(candidate.digest);
      expect(await releaseFor(edge, clients.stable[0]!)).toBe(stable.digest);
      return edge.logs.slice(broken).some((line) => line.includes('rollout_not_read'));
    });
    expect(await releaseFor(edge, clients.canary[1]!)).toBe(candidate.digest);
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
    await tell(first, 'set/rollout', old);
    await tell(first, 'call/persist');
    await first.miniflare.dispose();

    const second = await startEdge(bundle, secrets(key), { folder });
    expect(await releaseFor(second, 'x')).toBe(stable.digest);
    const candidate = await fresh();
    const { canary, history } = await start(second, candidate, [step(50)]);
    expect(history.map(({ type }) => type)).toEqual(['activate', 'start']);
    const before = await rollout(second);
    await second.miniflare.dispose();

    const third = await startEdge(bundle, secrets(key), { folder });
    onTestFinished(() => third.miniflare.dispose());
    expect(await rollout(third)).toEqual(before);
    const clients = await clientsAround(canary!.salt, 50);
    expect(await releaseFor(third, clients.canary[0]!)).toBe(candidate.digest);
    expect(await releaseFor(third, clients.stable[0]!)).toBe(stable.digest);
  });
});
