/** Which release answers: what this isolate knows of the rollout, and the model that follows from it for one client. */
import { digestSchema } from '../src/api/route.ts';
import type { Subtle } from '../src/release/signature.ts';
import { failure, type Result } from '../src/result.ts';
import { bucketOf, getsCanary } from '../src/rollout/assign.ts';
import { noCounts } from '../src/rollout/health.ts';
import type { Serving } from '../src/rollout/state.ts';
import { clientKeyHash } from './client.ts';
import type { Env, Waiter } from './env.ts';
import { Refusal, type Call } from './http.ts';
import type { Model } from './model.ts';
import { namedModel, needModels, promptModel, unexpired } from './releases.ts';
import { readServing } from './rollout.ts';

/** The rollout is read again in the background after the first age, and before answering after the second. */
const STALE_MS = 5_000;
const MAX_AGE_MS = 10_000;
const PATIENCE_MS = 2_000;

/** `triedAtMs` is when the rollout was last asked for, `answering` the stable model that answered last. */
const isolate: {
  serving?: Serving;
  readAtMs: number;
  triedAtMs: number;
  reading?: Promise<void> | undefined;
  answering?: Model;
} = { readAtMs: -Infinity, triedAtMs: -Infinity };

/** What this isolate last heard of the rollout. */
export const knownServing = (): Serving | undefined => isolate.serving;

/**
 * Notes what the rollout said when it was asked at `askedAtMs`, so that the isolate that changed it need not ask. An answer that was
 * overtaken changes nothing; neither does an object that has lost its state, so that its loss stops nobody.
 */
export function noteServing(serving: Serving, askedAtMs: number): void {
  const known = isolate.serving;
  if (known && serving.revision < known.revision) {
    if (askedAtMs <= isolate.readAtMs) return;
    if (serving.stable === null) return console.error(JSON.stringify({ event: 'rollout_lost', known: known.revision }));
  }
  isolate.serving = serving;
  isolate.readAtMs = Date.now();
  keepNeeded();
}

function keepNeeded(): void {
  const { serving, answering } = isolate;
  const digests = [serving?.stable, serving?.canary?.digest, answering?.digest];
  needModels(new Set(digests.filter((digest) => typeof digest === 'string')));
}

/** What the rollout says, at most 10 s old; older when the object cannot be reached, undefined when it never could. */
async function currentServing(env: Env, waiter: Waiter): Promise<Serving | undefined> {
  const now = Date.now();
  if (now - isolate.readAtMs < STALE_MS) return isolate.serving;
  // While the object fails, requests go on with what is known instead of each waiting for it.
  const failing = isolate.serving !== undefined && !isolate.reading && now - isolate.triedAtMs < STALE_MS;
  if (failing) return isolate.serving;
  if (!isolate.reading || now - isolate.triedAtMs > MAX_AGE_MS) {
    isolate.triedAtMs = now;
    isolate.reading = readServing(env)
      .then((serving) => noteServing(serving, now))
      .catch((error: unknown) => console.error(JSON.stringify({ event: 'rollout_not_read', error: String(error) })))
      .finally(() => (isolate.reading = undefined));
  }
  waiter.waitUntil(isolate.reading);
  const patient = now - isolate.readAtMs >= MAX_AGE_MS && now - isolate.triedAtMs < PATIENCE_MS;
  if (patient || !isolate.serving) await Promise.race([isolate.reading, scheduler.wait(PATIENCE_MS)]);
  return isolate.serving;
}

const UNREAD = failure('the rollout could not be read');

/** The stable release's model, or, while that one is loading or when it is refused, the one that served before it unless it failed. */
async function stableModel(env: Env, waiter: Waiter, { stable, failed }: Serving): Promise<Result<Model>> {
  if (stable === null) return failure('no release is active');
  const { answering } = isolate;
  const before = answering && !failed.includes(answering.digest) ? unexpired(answering) : UNREAD;
  const model = before.ok
    ? ((await promptModel(env, waiter, stable)) ?? before)
    : await namedModel(env, waiter, stable);
  if (!model.ok) return before.ok ? before : model;
  isolate.answering = model.value;
  keepNeeded();
  return model;
}

/** The model that answers those who get no canary. */
export async function activeModel(env: Env, waiter: Waiter): Promise<Result<Model>> {
  const serving = await currentServing(env, waiter);
  return serving ? stableModel(env, waiter, serving) : UNREAD;
}

/** Counts that the canary could not be loaded where it should have answered. */
type NoteCounts = (digest: string, counts: ReturnType<typeof noCounts>) => void;

/**
 * The model for one client: the canary if its key falls there or the header `x-release` (or `version`) pins it, else stable. A canary that
 * cannot be loaded costs its client nothing, but counts against it; a pinned release is answered by itself or not at all.
 */
export async function modelFor(c: Call, note: NoteCounts, version?: string): Promise<Result<Model>> {
  const serving = await currentServing(c.env, c.executionCtx);
  if (!serving) return UNREAD;
  const pinned = version ?? c.req.header('x-release');
  if (pinned !== undefined) return pinnedModel(c, serving, pinned);
  const { canary } = serving;
  if (canary && canary.canaryPercent > 0) {
    const subtle = crypto.subtle as unknown as Subtle;
    const bucket = await bucketOf(canary.salt, await clientKeyHash(c), subtle);
    if (getsCanary(bucket, canary.canaryPercent)) {
      const model = await promptModel(c.env, c.executionCtx, canary.digest);
      if (model?.ok) return model;
      if (model) note(canary.digest, { ...noCounts(), requests: 1, errors: { guard: 0, load: 1 } });
    }
  }
  return stableModel(c.env, c.executionCtx, serving);
}

async function pinnedModel(c: Call, { stable, canary }: Serving, pinned: string): Promise<Result<Model>> {
  if (!digestSchema.safeParse(pinned).success) {
    throw new Refusal(400, 'invalid_digest', 'x-release: expected 64 lower-case hexadecimal digits');
  }
  if (pinned !== stable && pinned !== canary?.digest) {
    throw new Refusal(422, 'release_not_served', 'x-release: expected the stable release or the canary, got another');
  }
  return namedModel(c.env, c.executionCtx, pinned);
}
