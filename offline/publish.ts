/** Publishing: stores a release on a worker and, if asked, makes it the one that serves. */
import * as z from 'zod';
import { releaseDigest } from '../src/release/signature.ts';
import { failure, success, type Result } from '../src/result.ts';
import { readReleaseFiles } from './release.ts';

const TIMEOUT_MS = 120_000;
const QUOTED_CHARACTERS = 200;

const errorSchema = z.object({ error: z.object({ code: z.string(), message: z.string() }) });

/**
 * Stores the release of a directory on the worker at `url` with the publisher's `token`, then activates it for all traffic if
 * asked. Both steps give the same end when they are repeated, so after any failure the same call may simply be made again.
 * The error says which request failed and how the worker answered.
 */
export async function publishRelease(
  directory: string,
  options: { url: string; token: string; activate: boolean },
): Promise<Result<{ digest: string }>> {
  const { url, token, activate } = options;
  const base = URL.parse(url);
  if (!base || !/^https?:$/.test(base.protocol)) return failure(`publish: expected an http or https URL, got "${url}"`);
  // Checked here because fetch would quote the token in its own complaint.
  if (!/^[\x21-\x7e]+$/.test(token)) return failure('publish: the token is empty or has characters that no token has');
  const files = await readReleaseFiles(directory);
  if (!files.ok) return files;
  const digest = await releaseDigest(files.value, crypto.subtle);
  if (!digest.ok) return failure(`${directory}: ${digest.error}`);

  const form = new FormData();
  for (const [name, bytes] of files.value) form.append(name, new Blob([bytes]), name);
  const root = base.href.replace(/\/+$/, '');
  const stored = await send('PUT', `${root}/v1/releases/${digest.value}`, token, form);
  if (!stored.ok) return stored;
  if (activate) {
    const rollout = JSON.stringify({ digest: digest.value, canaryPercent: 100 });
    const activated = await send('POST', `${root}/v1/rollouts`, token, rollout);
    if (!activated.ok) return failure(`${activated.error} (release ${digest.value} is stored but not active)`);
  }
  return success({ digest: digest.value });
}

/** Sends one request; redirects are refused, because the token must not follow them. */
async function send(
  method: 'PUT' | 'POST',
  url: string,
  token: string,
  body: FormData | string,
): Promise<Result<null>> {
  const request = `publish: ${method} ${url}`;
  try {
    const headers = {
      authorization: `Bearer ${token}`,
      ...(typeof body === 'string' && { 'content-type': 'application/json' }),
    };
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const response = await fetch(url, { method, headers, body, signal, redirect: 'manual' });
    const text = await response.text();
    return response.ok ? success(null) : failure(`${request} was answered ${response.status}: ${reason(text)}`);
  } catch (error) {
    return failure(`${request} failed: ${networkReason(error as Error)}`);
  }
}

/** What the worker says about its refusal, or the start of what something else answered. */
function reason(text: string): string {
  try {
    const { error } = errorSchema.parse(JSON.parse(text));
    return `${error.message} (${error.code})`;
  } catch {
    return text.trim().replaceAll(/\s+/g, ' ').slice(0, QUOTED_CHARACTERS) || 'no explanation';
  }
}

/** `fetch` hides why it failed in the cause of its error. */
function networkReason(error: Error): string {
  if (error.name === 'TimeoutError') return `no answer within ${TIMEOUT_MS / 1000} s`;
  const cause = error.cause as NodeJS.ErrnoException | undefined;
  return cause?.message || cause?.code || error.message;
}
