/**
 * What this isolate counts of its releases, and the comparisons of two releases on one image. Counts gather in memory and go to the objects in the
 * background, every 2 s at most, so that no request waits for an object.
 */
import {
  addCounts,
  CONFIDENCE_SHIFT,
  latencyBucket,
  noCounts,
  type Counts,
  type Deltas,
} from '../src/rollout/health.ts';
import type { Env, Waiter } from './env.ts';
import { recordHealth } from './health-object.ts';
import type { Call } from './http.ts';
import { infer, type Inference, type Model } from './model.ts';
import { namedModel } from './releases.ts';
import { observeRollout } from './rollout.ts';
import { knownServing, noteServing } from './serving.ts';

const FLUSH_MS = 2_000;
/** A flush that is this late was cut off with its request. */
const FLUSH_GRACE_MS = 3_000;
/**
 * How many of the requests that could be compared are, drawn at random (every other one would miss what comes at every other one),
 * and how many at most between two flushes.
 */
const COMPARED_SHARE = 0.5;
const COMPARED_LIMIT = 100;

type Pending = Map<string, Counts>;

/** Counts wait for each object by themselves, so that one that fails delays only its own. */
const isolate: { forHealth: Pending; forRollout: Pending; flushAtMs: number; compared: number } = {
  forHealth: new Map(),
  forRollout: new Map(),
  flushAtMs: -Infinity,
  compared: 0,
};

function add(pending: Pending, digest: string, counts: Counts): void {
  const known = pending.get(digest);
  pending.set(digest, known ? addCounts(known, counts) : counts);
}

/** Counts for a release, to be reported soon. */
export function noteCounts(env: Env, waiter: Waiter, digest: string, counts: Counts): void {
  add(isolate.forHealth, digest, counts);
  add(isolate.forRollout, digest, counts);
  const now = Date.now();
  if (now < isolate.flushAtMs + FLUSH_GRACE_MS) return;
  isolate.flushAtMs = now + FLUSH_MS;
  waiter.waitUntil(scheduler.wait(FLUSH_MS).then(() => flush(env)));
}

async function flush(env: Env): Promise<void> {
  isolate.flushAtMs = -Infinity;
  isolate.compared = 0;
  if (!knownServing()?.canary) isolate.forRollout.clear();
  await Promise.all([
    deliver(isolate.forHealth, (deltas) => recordHealth(env, deltas)),
    deliver(isolate.forRollout, async (deltas) => {
      const askedAtMs = Date.now();
      noteServing(await observeRollout(env, deltas), askedAtMs);
    }),
  ]);
}

/** Sends what is pending; what could not be sent is pending again. */
async function deliver(pending: Pending, send: (deltas: Deltas) => Promise<void>): Promise<void> {
  if (pending.size === 0) return;
  const sent = [...pending];
  pending.clear();
  try {
    await send(Object.fromEntries(sent));
  } catch (error) {
    for (const [digest, counts] of sent) add(pending, digest, counts);
    console.error(JSON.stringify({ event: 'health_not_reported', error: String(error) }));
  }
}

/**
 * Counts one request that `model` answered with `results`, or failed on without them, and compares it with the other release where
 * that is due. Both happen after the answer, which also is when the clock shows the time that computing took: at the edge it stands
 * still between inputs and outputs.
 */
export function observe(c: Call, model: Model, images: Float32Array, results: readonly Inference[] | undefined): void {
  const { env, executionCtx: waiter } = c;
  const startedAtMs = c.get('startedAtMs');
  const note = async (): Promise<void> => {
    await scheduler.wait(0);
    noteCounts(env, waiter, model.digest, countsOf(results, Math.max(0, Date.now() - startedAtMs)));
    if (results) await compare(env, waiter, model, images, results[0]!);
  };
  waiter.waitUntil(note());
}

const confidence = ({ scores, label }: Inference): number => scores[label]!;

function countsOf(results: readonly Inference[] | undefined, latencyMs: number): Counts {
  const counts = { ...noCounts(), requests: 1 };
  if (!results) return { ...counts, errors: { guard: 1, load: 0 } };
  counts.latency[latencyBucket(latencyMs)] = 1;
  return {
    ...counts,
    images: results.length,
    latencySumMs: latencyMs,
    suspects: results.filter(({ verdict }) => verdict !== 'off' && verdict.verdict === 'suspect').length,
    confidenceSum: results.reduce((sum, result) => sum + confidence(result), 0),
  };
}

/** Whom an answer is compared with: a canary's with stable, and in shadow stable's with the canary. */
function counterpart({ digest }: Model): { canary: string; other: string } | undefined {
  const serving = knownServing();
  if (!serving?.canary || serving.stable === null) return undefined;
  const { stable, canary } = serving;
  if (digest === canary.digest) return { canary: digest, other: stable };
  return digest === stable && canary.canaryPercent === 0 ? { canary: canary.digest, other: canary.digest } : undefined;
}

/** Runs the first image of a request on the other release too, and counts for the canary how the answers differ. */
async function compare(env: Env, waiter: Waiter, model: Model, images: Float32Array, given: Inference): Promise<void> {
  const pair = counterpart(model);
  if (!pair || isolate.compared >= COMPARED_LIMIT || Math.random() >= COMPARED_SHARE) return;
  isolate.compared += 1;
  const other = await namedModel(env, waiter, pair.other);
  const otherAnswer = other.ok ? answerOf(env, other.value, model.network.input, images) : undefined;
  if (other.ok && otherAnswer) {
    const sameLabel = labelName(model, given) === labelName(other.value, otherAnswer);
    return noteCounts(env, waiter, pair.canary, differences(given, otherAnswer, sameLabel));
  }
  // A canary that gives no answer does not agree; a stable release that gives none says nothing of the canary.
  if (pair.other === pair.canary) {
    noteCounts(env, waiter, pair.canary, { ...noCounts(), compared: 1, disagreed: 1 });
  }
}

const labelName = ({ network }: Model, { label }: Inference): string => network.labelNames[label]!;

/** What a model says of the first of `images` [B,H,W,C], made for a network with this input; undefined where it takes another, or fails. */
function answerOf(
  env: Env,
  model: Model,
  { height, width, channels }: Model['network']['input'],
  images: Float32Array,
): Inference | undefined {
  const { input } = model.network;
  if (input.height !== height || input.width !== width || input.channels !== channels) return undefined;
  try {
    return infer(model, images.subarray(0, height * width * channels), 1, env.GUARD !== 'off')[0];
  } catch {
    return undefined;
  }
}

const verdictOf = ({ verdict }: Inference): string => (verdict === 'off' ? verdict : verdict.verdict);

function differences(a: Inference, b: Inference, sameLabel: boolean): Counts {
  const shift = Math.abs(confidence(a) - confidence(b));
  return {
    ...noCounts(),
    compared: 1,
    disagreed: Number(!sameLabel),
    verdictsDiffered: Number(verdictOf(a) !== verdictOf(b)),
    confidenceShifted: Number(shift > CONFIDENCE_SHIFT),
  };
}
