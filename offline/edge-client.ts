/** One request to a worker, and what its refusals mean. */
import * as z from 'zod';
import { failure, success, type Result } from '../src/result.ts';

const TIMEOUT_MS = 120_000;
const QUOTED_CHARACTERS = 200;

const errorSchema = z.object({ error: z.object({ code: z.string(), message: z.string() }) });

/** A worker as a caller knows it: `root` has no slash at its end. */
export type Worker = { root: string; token: string };

/** The worker at `url` with a token; the error, which begins with `subject`, says which of both no worker has. */
export function workerAt(subject: string, url: string, token: string): Result<Worker> {
  const base = URL.parse(url);
  if (!base || !/^https?:$/.test(base.protocol)) {
    return failure(`${subject}: expected an http or https URL, got "${url}"`);
  }
  // Checked here because fetch would quote the token in its own complaint.
  if (!/^[\x21-\x7e]+$/.test(token)) {
    return failure(`${subject}: the token is empty or has characters that no token has`);
  }
  return success({ root: base.href.replace(/\/+$/, ''), token });
}

/**
 * Sends one request and answers the text that came back; redirects are refused, because the token must not follow them. The error, which
 * begins with `subject`, says which request failed and how the worker answered.
 */
export async function send(
  subject: string,
  { root, token }: Worker,
  method: 'GET' | 'PUT' | 'POST',
  path: string,
  body?: FormData | object,
): Promise<Result<string>> {
  const request = `${subject}: ${method} ${root}${path}`;
  try {
    const json = body !== undefined && !(body instanceof FormData);
    const headers = { authorization: `Bearer ${token}`, ...(json && { 'content-type': 'application/json' }) };
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const init: RequestInit = { method, headers, signal, redirect: 'manual' };
    if (body !== undefined) init.body = body instanceof FormData ? body : JSON.stringify(body);
    const response = await fetch(`${root}${path}`, init);
    const text = await response.text();
    return response.ok ? success(text) : failure(`${request} was answered ${response.status}: ${reason(text)}`);
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
