/** Releases in R2, and their models in this isolate: verified here before they may answer anything, then kept in memory. */
import { refusalReason } from '../src/alert/refusal.ts';
import { RELEASE_FILES, SIGNATURE_FILE } from '../src/release/manifest.ts';
import { openRelease, type Release } from '../src/release/release.ts';
import type { ReleaseFiles, Subtle } from '../src/release/signature.ts';
import { failure, success, type Result } from '../src/result.ts';
import { raise } from './alerts.ts';
import type { Env, Waiter } from './env.ts';
import { disposeModel, loadModel, type Model } from './model.ts';

const MODEL_LIMIT = 2;
const REFUSAL_RETRY_MS = 30_000;
const READ_TIME_LIMIT_MS = 10_000;
const PATIENCE_MS = 1_000;

/** What this isolate has in memory. Every load is shared by the requests that wait for it; `needed` models are not dropped for others. */
const isolate: {
  models: Map<string, Model>;
  loads: Map<string, Promise<Result<Model>>>;
  refusals: Map<string, { error: string; atMs: number }>;
  needed: ReadonlySet<string>;
  /** Those whose load nobody waits for any more. */
  slow: Set<string>;
} = { models: new Map(), loads: new Map(), refusals: new Map(), needed: new Set(), slow: new Set() };

/** Says which releases the rollout needs. */
export function needModels(digests: ReadonlySet<string>): void {
  isolate.needed = digests;
  for (const digest of isolate.refusals.keys()) if (!digests.has(digest)) isolate.refusals.delete(digest);
}

const key = (digest: string, name: string): string => `releases/${digest}/${name}`;

/** Checks the files of a release against the keys of this worker. */
export async function verifyFiles(env: Env, files: ReleaseFiles, expectedDigest: string): Promise<Result<Release>> {
  const keys = trustedKeys(env.RELEASE_PUBLIC_KEYS ?? '');
  if (!keys.ok) return keys;
  const subtle = crypto.subtle as unknown as Subtle;
  return openRelease(files, { trustedKeys: keys.value, expectedDigest, now: new Date(), subtle });
}

function trustedKeys(list: string): Result<Uint8Array[]> {
  const keys = list.split(',').filter((key) => key.trim() !== '');
  if (keys.length === 0) return failure('release: this worker trusts no key (RELEASE_PUBLIC_KEYS is not set)');
  try {
    return success(keys.map((key) => Uint8Array.from(atob(key), (character) => character.charCodeAt(0))));
  } catch {
    return failure('release: this worker trusts no key (RELEASE_PUBLIC_KEYS is not base64)');
  }
}

type Stored = { createdAt: string; expiresAt: string; sizeBytes: number };

/** Stores a verified release, its signature last: a release without one does not exist. Answers whether it was new. */
export async function storeRelease(
  env: Env,
  release: Release,
  files: ReleaseFiles,
): Promise<{ stored: Stored; created: boolean }> {
  const { digest, manifest } = release;
  const created = !(await releaseExists(env, digest));
  await Promise.all(RELEASE_FILES.map((name) => env.RELEASES.put(key(digest, name), files.get(name)!)));
  const sizeBytes = [...files.values()].reduce((total, bytes) => total + bytes.length, 0);
  const stored = { createdAt: manifest.createdAt, expiresAt: manifest.expiresAt, sizeBytes };
  const customMetadata = { ...stored, sizeBytes: String(sizeBytes) };
  await env.RELEASES.put(key(digest, SIGNATURE_FILE), files.get(SIGNATURE_FILE)!, { customMetadata });
  isolate.refusals.delete(digest);
  return { stored, created };
}

export const releaseExists = async (env: Env, digest: string): Promise<boolean> =>
  (await env.RELEASES.head(key(digest, SIGNATURE_FILE))) !== null;

/** Every stored release. */
export async function storedReleases(env: Env): Promise<(Stored & { digest: string })[]> {
  const releases: (Stored & { digest: string })[] = [];
  let cursor: string | undefined;
  do {
    const page = await env.RELEASES.list({
      prefix: 'releases/',
      include: ['customMetadata'],
      ...(cursor && { cursor }),
    });
    for (const { key, customMetadata = {} } of page.objects) {
      if (!key.endsWith(SIGNATURE_FILE)) continue;
      const { createdAt = '', expiresAt = '', sizeBytes = '0' } = customMetadata;
      releases.push({ digest: key.split('/')[1]!, createdAt, expiresAt, sizeBytes: Number(sizeBytes) });
    }
    cursor = page.truncated ? page.cursor : undefined;
  } while (cursor);
  return releases;
}

/** The model of a stored release: from memory, or read from R2, verified and put on the device. */
export async function releaseModel(env: Env, waiter: Waiter, digest: string): Promise<Result<Model>> {
  const known = isolate.models.get(digest);
  if (known) return unexpired(known);
  let load = isolate.loads.get(digest);
  if (!load) {
    load = readModel(env, digest)
      .catch((error: unknown) => failure(`release ${digest}: it could not be loaded: ${String(error)}`))
      .finally(() => isolate.loads.delete(digest));
    isolate.loads.set(digest, load);
    // The load must end even when the request that began it is cut off, for others wait for it.
    waiter.waitUntil(load);
  }
  return load;
}

/** A stored release, read from R2 and verified; a failure when R2 takes longer than 10 s. */
export async function readRelease(env: Env, digest: string): Promise<Result<Release>> {
  const late = scheduler.wait(READ_TIME_LIMIT_MS).then(() => {
    return failure(`release ${digest}: it could not be loaded: it was not read within ${READ_TIME_LIMIT_MS / 1000} s`);
  });
  return Promise.race([readFiles(env, digest), late]);
}

async function readFiles(env: Env, digest: string): Promise<Result<Release>> {
  const files = new Map<string, Uint8Array>();
  for (const name of [...RELEASE_FILES, SIGNATURE_FILE]) {
    const object = await env.RELEASES.get(key(digest, name));
    if (!object) return failure(`release ${digest}: ${name} is not stored`);
    files.set(name, new Uint8Array(await object.arrayBuffer()));
  }
  return verifyFiles(env, files, digest);
}

async function readModel(env: Env, digest: string): Promise<Result<Model>> {
  const release = await readRelease(env, digest);
  if (!release.ok) return release;
  const model = await loadModel(release.value);
  isolate.models.set(digest, model);
  for (const old of isolate.models.values()) {
    if (isolate.models.size <= MODEL_LIMIT) break;
    if (old === model || isolate.needed.has(old.digest)) continue;
    isolate.models.delete(old.digest);
    disposeModel(old);
  }
  return success(model);
}

/** The model while its release has not expired. */
export const unexpired = (model: Model): Result<Model> =>
  Date.now() < model.expiresAtMs
    ? success(model)
    : failure(`release ${model.digest}: it expired at ${new Date(model.expiresAtMs).toISOString()}`);

/** The model of a release that the rollout names. A refusal raises an alert, and holds for 30 s before the release is tried again. */
export async function namedModel(env: Env, waiter: Waiter, digest: string): Promise<Result<Model>> {
  const refusal = isolate.refusals.get(digest);
  if (refusal && Date.now() - refusal.atMs < REFUSAL_RETRY_MS) return failure(refusal.error);
  const model = await releaseModel(env, waiter, digest);
  if (model.ok) {
    isolate.refusals.delete(digest);
    return model;
  }
  // Of the requests that waited for one load only the first tells.
  if (isolate.refusals.get(digest) === refusal) {
    isolate.refusals.set(digest, { error: model.error, atMs: Date.now() });
    const reason = refusalReason(model.error);
    raise(env, waiter, [{ kind: 'release-refused', release: digest, reason, message: model.error }]);
  }
  return model;
}

/** The same for callers that have another model to answer with: undefined while loading takes more than a moment. */
export async function promptModel(env: Env, waiter: Waiter, digest: string): Promise<Result<Model> | undefined> {
  const model = namedModel(env, waiter, digest);
  if (isolate.models.has(digest)) return model;
  // The load goes on behind the answer, and so does the alert of a refusal.
  waiter.waitUntil(model.finally(() => isolate.slow.delete(digest)));
  const late = scheduler.wait(isolate.slow.has(digest) ? 0 : PATIENCE_MS).then(() => undefined);
  const prompt = await Promise.race([model, late]);
  if (!prompt) isolate.slow.add(digest);
  return prompt;
}
