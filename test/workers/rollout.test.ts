import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Bundle } from '../../offline/serve.ts';
import { shippedBundle } from '../support/bundle.ts';
import type { ReleaseContent } from '../../src/release/release.ts';
import { activate, publish, refusalOf, secrets, startEdge, type Edge } from './edge.ts';
import { offlineAnswer } from './offline.ts';
import {
  classify,
  clientsAround,
  content,
  eventually,
  fresh,
  key,
  operate,
  pixelsOf,
  releaseFor,
  reset,
  rollout,
  rolloutAlerts,
  start,
  step,
  tell,
  tick,
  totalsOf,
  trafficUntil,
  type Pixels,
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
    const { canary } = await start(edge, bad, [step(5)]);
    const clients = await clientsAround(canary!.salt, 5);
    const sent = await trafficUntil(
      edge,
      ({ phase }) => phase === 'rolled-back',
      500,
      async (index) => {
        await classify(edge, clients.canary[index % 8]!, { pixels: images[(index * 7) % 10] });
        await classify(edge, clients.stable[index % 8]!, { pixels: images[index % 10] });
      },
    );
    expect(sent).toBeLessThan(500);
    const state = await rollout(edge);
    expect(state).toMatchObject({ stable: stable.digest, canary: null });
    expect(state.history.at(-1)).toMatchObject({ type: 'roll-back', digest: bad.digest, actor: 'rollout' });
    expect(state.history.at(-1)!.reason).toMatch(/^disagreement with stable: \d+ of \d+/);
    expect(await releaseFor(edge, clients.canary[0]!)).toBe(stable.digest);
    expect(refusalOf(await classify(edge, 'any', { pin: bad.digest }))).toMatch(/^422 release_not_served: /);
    expect(refusalOf(await activate(edge, bad.digest))).toMatch(/^409 rollout_conflict: release .* failed at revision/);
    await eventually(async () => (await rolloutAlerts(edge, bad)).length > 0);
    await tick(edge);
    expect(await rolloutAlerts(edge, bad)).toMatchObject([{ count: 1, alert: { kind: 'rollout-rolled-back' } }]);
  });

  test('as good as stable goes through its steps and serves everybody without a person, and no client moves back', async () => {
    const good = await fresh();
    const { canary } = await start(edge, good, [step(5), step(50, { holdSeconds: 1 })]);
    const clients = await clientsAround(canary!.salt, 5);
    const seen = new Set<string>();
    const sent = await trafficUntil(
      edge,
      ({ phase }) => phase === 'promoted',
      3000,
      async (index) => {
        const release = await releaseFor(edge, clients.canary[index % 8]!);
        seen.add(release);
        await classify(edge, clients.stable[index % 8]!);
      },
    );
    expect(sent).toBeLessThan(3000);
    expect([...seen]).toEqual([good.digest]);
    const { stable: now, history } = await rollout(edge);
    expect(now).toBe(good.digest);
    expect(
      history.slice(-3).map(({ type, canaryPercent, actor }) => [type, canaryPercent, actor.split(':')[0]]),
    ).toEqual([
      ['start', 5, 'operate'],
      ['advance', 50, 'rollout'],
      ['promote', 100, 'rollout'],
    ]);
    expect(await rolloutAlerts(edge, good)).toEqual([]);
    const totals = await totalsOf(edge, good);
    expect(totals.requests).toBeGreaterThanOrEqual(400);
    expect(totals.compared).toBeGreaterThanOrEqual(150);
    expect(totals).toMatchObject({ disagreed: 0, verdictsDiffered: 0, errors: { guard: 0, load: 0 } });
    expect(totals.latency.reduce((sum, bucket) => sum + bucket, 0)).toBe(totals.requests);
  });

  test('that nobody asks is paused as inconclusive with an alert, and goes on when it is resumed', async () => {
    const idle = await fresh();
    await start(edge, idle, [step(5, { deadlineSeconds: 1 })]);
    await new Promise((resolve) => setTimeout(resolve, 1100));
    await tick(edge);
    const { phase, canary, history } = await rollout(edge);
    expect([phase, history.at(-1)?.type]).toEqual(['paused', 'pause']);
    expect(canary?.paused?.reason).toBe('inconclusive after 1 s: 0 of at least 200 requests');
    await eventually(async () => (await rolloutAlerts(edge, idle)).length > 0);
    expect(await rolloutAlerts(edge, idle)).toMatchObject([{ severity: 'warning', alert: { kind: 'rollout-paused' } }]);
    expect((await operate(edge, 'resume', { reason: 'once more' })).status).toBe(200);
    expect((await rollout(edge)).phase).toBe('running');
  });

  test('in shadow answers nobody, but runs beside stable and is compared', async () => {
    const shadow = await fresh();
    const { canary } = await start(edge, shadow, [step(0), step(5)]);
    const clients = await clientsAround(canary!.salt, 5);
    const seen = new Set<string>();
    const sent = await trafficUntil(
      edge,
      ({ canary }) => canary?.stepIndex === 1,
      2000,
      async (index) => {
        seen.add(await releaseFor(edge, clients.stable[index % 8]!));
      },
    );
    expect(sent).toBeLessThan(2000);
    expect([...seen]).toEqual([stable.digest]);
    expect(await releaseFor(edge, clients.canary[0]!)).toBe(shadow.digest);
    const totals = await totalsOf(edge, shadow);
    expect(totals.compared).toBeGreaterThanOrEqual(200);
  });

  test('that went bad in storage costs no client an answer, but is taken back for its errors', async () => {
    const lost = await fresh();
    await publish(edge, lost);
    await (await edge.miniflare.getR2Bucket('RELEASES')).delete(`releases/${lost.digest}/weights.safetensors`);
    const command = { type: 'start', digest: lost.digest, plan: [step(100)], actor: 'test', reason: 'unseen' };
    await tell(edge, 'call/apply', [encodeURIComponent(JSON.stringify(command))]);
    const sent = await trafficUntil(
      edge,
      ({ phase }) => phase === 'rolled-back',
      4000,
      async (index) => {
        expect(await releaseFor(edge, `client-${index}`)).toBe(stable.digest);
      },
    );
    expect(sent).toBeLessThan(4000);
    expect((await rollout(edge)).history.at(-1)!.reason).toMatch(/^errors: (\d+) of \1,/);
  });
});
