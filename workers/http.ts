/** The edges of HTTP: refusals, bounded bodies and JSON. */
import type * as z from 'zod';
import type { Context } from 'hono';
import { nestsWithin } from '../src/api/json-depth.ts';
import { BODY_LIMIT_BYTES, REQUEST_LIMITS } from '../src/api/route.ts';
import type { Env } from './env.ts';

/**
 * The request's id, who asks (a role and the start of the token's digest), when the answer was begun, which operation was asked for, whether
 * its errors are plain sentences, and why it failed: the code of the refusal, or the stack of an error.
 */
export type Variables = {
  requestId: string;
  actor: string;
  startedAtMs: number;
  operation: string;
  plainErrors: boolean;
  failure: string;
};
/** What every handler gets. */
export type Call = Context<{ Bindings: Env; Variables: Variables }>;

export type RefusalStatus =
  | 400
  | 401
  | 403
  | 404
  | 408
  | 409
  | 411
  | 413
  | 414
  | 415
  | 422
  | 426
  | 429
  | 431
  | 500
  | 503;

/** An answer other than success: thrown by handlers, turned into `{ error }` by the one onError. */
export class Refusal extends Error {
  readonly status: RefusalStatus;
  readonly code: string;
  readonly headers: Record<string, string>;

  constructor(status: RefusalStatus, code: string, message: string, headers: Record<string, string> = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.headers = headers;
  }
}

/** The id that Cloudflare gave the request; elsewhere the header is the caller's, so that only what looks like an id is taken. */
export function requestIdOf(request: Request): string {
  const ray = request.headers.get('cf-ray');
  return ray && /^[\w-]{1,64}$/.test(ray) ? ray : crypto.randomUUID();
}

/** Refuses requests whose query or headers are longer than any client needs. */
export function expectBoundedRequest({ url, headers }: Request): void {
  const { headers: countLimit, headerBytes, queryCharacters } = REQUEST_LIMITS;
  if (new URL(url).search.length > queryCharacters) {
    throw new Refusal(414, 'query_too_long', `query: expected at most ${queryCharacters} characters`);
  }
  const lengths = [...headers].map(([name, value]) => name.length + value.length);
  if (lengths.length > countLimit || lengths.reduce((sum, length) => sum + length, 0) > headerBytes) {
    const message = `headers: expected at most ${countLimit} with ${headerBytes} bytes`;
    throw new Refusal(431, 'headers_too_large', message);
  }
}

/**
 * What every answer tells browsers: nothing of it is stored, sniffed, framed or shared. A page names in its own policy what it loads, and what
 * is the same for everybody may say that it can be stored.
 */
export function secureHeaders(headers: Headers, requestId: string): void {
  headers.set('x-request-id', requestId);
  headers.set('x-content-type-options', 'nosniff');
  headers.set('x-frame-options', 'DENY');
  headers.set('cross-origin-resource-policy', 'same-origin');
  headers.set('strict-transport-security', 'max-age=31536000');
  const unlessSaid = {
    'cache-control': 'no-store',
    'referrer-policy': 'no-referrer',
    'content-security-policy': "default-src 'none'; base-uri 'none'; frame-ancestors 'none'",
  };
  for (const [name, value] of Object.entries(unlessSaid)) if (!headers.has(name)) headers.set(name, value);
}

/** The media type of a request without its parameters, in lower case; '' when it has none. */
export const mediaType = (request: Request): string =>
  (request.headers.get('content-type') ?? '').split(';')[0]!.trim().toLowerCase();

/** Refuses with 415 when the request's media type is not one of `expected`. */
export function expectMediaType(request: Request, expected: readonly string[]): string {
  const type = mediaType(request);
  if (expected.includes(type)) return type;
  const got = type === '' ? 'none' : `"${type.slice(0, 100)}"`;
  throw new Refusal(415, 'unsupported_media_type', `content-type: expected ${expected.join(' or ')}, got ${got}`);
}

const tooLarge = (limitBytes: number) =>
  new Refusal(413, 'body_too_large', `body: expected at most ${limitBytes} bytes, got more`);

/** A body may take 10 s, and longer the longer it may be: whoever sends more slowly than 256 KiB/s only holds memory. */
const timeLimitMs = (limitBytes: number): number => 10_000 + limitBytes / 256;

/** The chunks of a stream of at most `limitBytes` that ends within `limitMs`; refuses more with 413 and slower ones with 408. */
async function* chunksOf(
  stream: ReadableStream<Uint8Array> | null,
  limitBytes: number,
  limitMs: number,
): AsyncGenerator<Uint8Array> {
  if (!stream) return;
  const reader = stream.getReader();
  const { promise: late, reject } = Promise.withResolvers<never>();
  late.catch(() => undefined);
  const refusal = new Refusal(408, 'body_too_slow', `body: expected its end within ${limitMs / 1000} s`);
  const timer = setTimeout(() => reject(refusal), limitMs);
  let length = 0;
  try {
    for (;;) {
      const { done, value } = await Promise.race([reader.read(), late]);
      if (done) return;
      length += value.length;
      if (length > limitBytes) throw tooLarge(limitBytes);
      yield value;
    }
  } finally {
    clearTimeout(timer);
    await reader.cancel().catch(() => undefined);
  }
}

/** Reads a stream of at most `limitBytes` within `limitMs`. */
export async function readStream(
  stream: ReadableStream<Uint8Array> | null,
  limitBytes: number,
  limitMs: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of chunksOf(stream, limitBytes, limitMs)) chunks.push(chunk);
  const body = new Uint8Array(chunks.reduce((total, { length }) => total + length, 0));
  let offset = 0;
  for (const chunk of chunks) {
    body.set(chunk, offset);
    offset += chunk.length;
  }
  return body;
}

/** Reads a body, or refuses with 413 when it is longer than `limitBytes`: the declared length is checked first, the real one while reading. */
export async function readBody(request: Request, limitBytes: number): Promise<Uint8Array<ArrayBuffer>> {
  if (Number(request.headers.get('content-length') ?? 0) > limitBytes) throw tooLarge(limitBytes);
  return readStream(request.body, limitBytes, timeLimitMs(limitBytes));
}

/** Reads a body that may be compressed (`content-encoding` gzip or deflate): the limit holds before and after inflating. */
export async function readInflated(request: Request, limitBytes: number): Promise<Uint8Array<ArrayBuffer>> {
  const encoding = request.headers.get('content-encoding')?.trim().toLowerCase() ?? 'identity';
  if (encoding === 'identity') return readBody(request, limitBytes);
  if (encoding !== 'gzip' && encoding !== 'deflate') {
    throw new Refusal(415, 'unsupported_encoding', 'content-encoding: expected gzip, deflate or identity, got another');
  }
  const compressed = await readBody(request, limitBytes);
  const inflated = new Response(compressed).body!.pipeThrough(new DecompressionStream(encoding));
  try {
    return await readStream(inflated, limitBytes, timeLimitMs(limitBytes));
  } catch (error) {
    if (error instanceof Refusal) throw error;
    throw new Refusal(400, 'invalid_encoding', `body: expected ${encoding} data`);
  }
}

/**
 * Reads and drops a body that a refusal left unread: the connection closes after the answer, and a client that is still sending then
 * never sees it. What is larger or slower than any body may be is cut off.
 */
export async function drain(request: Request): Promise<void> {
  if (!request.body || request.bodyUsed) return;
  if (Number(request.headers.get('content-length') ?? 0) > BODY_LIMIT_BYTES.release) return;
  try {
    for await (const _ of chunksOf(request.body, BODY_LIMIT_BYTES.release, timeLimitMs(0)));
  } catch {
    // The client is gone, or sends more than anybody may.
  }
}

/** Parses a JSON body against a schema: 400 when it is not JSON or nests too deep, 422 when it does not fit. */
export function parseJson<T>(body: Uint8Array, schema: z.ZodType<T>): T {
  if (!nestsWithin(body, REQUEST_LIMITS.jsonDepth)) {
    throw new Refusal(
      400,
      'json_too_deep',
      `body: expected at most ${REQUEST_LIMITS.jsonDepth} levels of nesting, got more`,
    );
  }
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: false }).decode(body));
  } catch {
    throw new Refusal(400, 'invalid_json', 'body: expected JSON in UTF-8');
  }
  const parsed = schema.safeParse(json);
  if (!parsed.success) throw new Refusal(422, 'invalid_request', `body: ${firstIssue(parsed.error)}`);
  return parsed.data;
}

/** The query of a request; refuses with 400 when it does not fit. */
export function parseQuery<T>(c: Call, schema: z.ZodType<T>): T {
  const query = schema.safeParse(c.req.query());
  if (!query.success) throw new Refusal(400, 'invalid_request', `query: ${firstIssue(query.error)}`);
  return query.data;
}

/** The first issue of a schema error, as one sentence that names the field. */
export function firstIssue(error: z.ZodError): string {
  const issue = error.issues[0]!;
  return issue.path.length ? `${issue.path.join('.')}: ${issue.message}` : issue.message;
}
