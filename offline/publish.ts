/** Publishing: stores a release on a worker and, if asked, makes it the one that serves. */
import { releaseDigest } from '../src/release/signature.ts';
import { failure, success, type Result } from '../src/result.ts';
import { send, workerAt } from './edge-client.ts';
import { readReleaseFiles } from './release.ts';

const SUBJECT = 'publish';

/**
 * Stores the release of a directory on the worker at `url` with the publisher's `token`, then activates it for all traffic if
 * asked. Both steps give the same end when they are repeated, so after any failure the same call may simply be made again.
 * The error says which request failed and how the worker answered.
 */
export async function publishRelease(
  directory: string,
  options: { url: string; token: string; activate: boolean },
): Promise<Result<{ digest: string }>> {
  const worker = workerAt(SUBJECT, options.url, options.token);
  if (!worker.ok) return worker;
  const files = await readReleaseFiles(directory);
  if (!files.ok) return files;
  const digest = await releaseDigest(files.value, crypto.subtle);
  if (!digest.ok) return failure(`${directory}: ${digest.error}`);

  const form = new FormData();
  for (const [name, bytes] of files.value) form.append(name, new Blob([bytes]), name);
  const stored = await send(SUBJECT, worker.value, 'PUT', `/v1/releases/${digest.value}`, form);
  if (!stored.ok) return stored;
  if (options.activate) {
    const rollout = { digest: digest.value, canaryPercent: 100 };
    const activated = await send(SUBJECT, worker.value, 'POST', '/v1/rollouts', rollout);
    if (!activated.ok) return failure(`${activated.error} (release ${digest.value} is stored but not active)`);
  }
  return success({ digest: digest.value });
}
