/** Two isolates of one deployment: each has its own memory, and both use the same objects and the same R2. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTwins } from '../../offline/serve.ts';
import { shippedBundle } from '../support/bundle.ts';
import { activate, publish, secrets, senderTo, type Edge } from './edge.ts';
import { classify, fresh, key, operate, rollout, type Release } from './rolling.ts';

/** What the issue of a change promises to everybody. */
const LEARNED_WITHIN_MS = 10_000;

const [first, second] = [await fresh(), await fresh()];
let isolates: [Edge, Edge];
beforeAll(async () => {
  const variables = secrets(key);
  const twins = await startTwins(await shippedBundle(), [variables, variables], { sharedObjects: true });
  isolates = twins.map((twin): Edge => ({ ...twin, logs: [], send: senderTo(twin.url) })) as [Edge, Edge];
  await publish(isolates[0], first);
  await publish(isolates[0], second);
});
afterAll(() => isolates[0].miniflare.dispose());

const releaseOf = async (isolate: Edge): Promise<string | null> =>
  (await classify(isolate, 'client')).headers.get('x-release');

/** Asks an isolate until a release answers, and says how long that took. */
async function learnedAfterMs(isolate: Edge, { digest }: Release): Promise<number> {
  const began = performance.now();
  while ((await releaseOf(isolate)) !== digest) {
    if (performance.now() - began > 2 * LEARNED_WITHIN_MS) throw new Error('the isolate never learned of the change');
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return performance.now() - began;
}

test('an isolate learns within ten seconds what was activated, and what was undone, through another', async () => {
  const [here, there] = isolates;
  await activate(here, first.digest);
  expect(await releaseOf(there)).toBe(first.digest);
  expect(await releaseOf(here)).toBe(first.digest);

  await activate(here, second.digest);
  expect(await learnedAfterMs(there, second)).toBeLessThan(LEARNED_WITHIN_MS);
  expect((await rollout(there)).stable).toBe(second.digest);

  expect((await operate(there, 'undo')).status).toBe(200);
  expect(await learnedAfterMs(here, first)).toBeLessThan(LEARNED_WITHIN_MS);
}, 60_000);

test('what either isolate answered is counted once, together', async () => {
  const [here, there] = isolates;
  const token = 'token-to-operate';
  const counted = async (): Promise<number> => {
    const { body } = await here.send('GET', '/v1/health', { token });
    const { releases } = body as { releases: { totals: { requests: number } }[] };
    return releases.reduce((sum, { totals }) => sum + totals.requests, 0);
  };
  await new Promise((resolve) => setTimeout(resolve, 3000));
  const before = await counted();
  for (let request = 0; request < 7; request += 1) await releaseOf(here);
  for (let request = 0; request < 5; request += 1) await releaseOf(there);
  await expect.poll(counted, { timeout: 15_000 }).toBe(before + 12);
}, 60_000);
