/** The edges of HTTP: refusals, bounded bodies and JSON. */
import type * as z from 'zod';
import type { Context } from 'hono';
import { BODY_LIMIT_BYTES } from '../src/api/route.ts';
import type { Env } from './env.ts';

/** What every handler gets: the bindings, the request's id, and who asks (a role and the start of the token's digest). */
export type Call = Context<{ Bindings: Env; Variables: { requestId: string; actor: string } }>;

export type RefusalStatus = 400 | 401 | 403 | 404 | 411 | 413 | 415 | 422 | 500 | 503;

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

/** The chunks of a body of at most `limitBytes`: the declared length is checked first, the real one while reading. */
async function* chunksOf(request: Request, limitBytes: number): AsyncGenerator<Uint8Array> {
  if (Number(request.headers.get('content-length') ?? 0) > limitBytes) throw tooLarge(limitBytes);
  let length = 0;
  for await (const chunk of (request.body as ReadableStream<Uint8Array> | null) ?? []) {
    length += chunk.length;
    if (length > limitBytes) throw tooLarge(limitBytes);
    yield chunk;
  }
}

/** Reads a body, or refuses with 413 when it is longer than `limitBytes`. */
export async function readBody(request: Request, limitBytes: number): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of chunksOf(request, limitBytes)) chunks.push(chunk);
  const body = new Uint8Array(chunks.reduce((total, { length }) => total + length, 0));
  let offset = 0;
  for (const chunk of chunks) {
    body.set(chunk, offset);
    offset += chunk.length;
  }
  return body;
}

/**
 * Reads and drops a body that a refusal left unread: the connection closes after the answer, and a client that is still sending then
 * never sees it. What is larger than any body may be is cut off.
 */
export async function drain(request: Request): Promise<void> {
  if (!request.body || request.bodyUsed) return;
  try {
    for await (const _ of chunksOf(request, BODY_LIMIT_BYTES.release));
  } catch {
    // The client is gone, or sends more than anybody may.
  }
}

/** Parses a JSON body against a schema: 400 when it is not JSON, 422 when it does not fit. */
export function parseJson<T>(body: Uint8Array, schema: z.ZodType<T>): T {
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

/** The first issue of a schema error, as one sentence that names the field. */
export function firstIssue(error: z.ZodError): string {
  const issue = error.issues[0]!;
  return issue.path.length ? `${issue.path.join('.')}: ${issue.message}` : issue.message;
}
