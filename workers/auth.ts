/** Who may call what: bearer tokens of which the worker only knows the SHA-256, and JSON Web Tokens where an issuer is configured. */
import { ROLES, type Role } from '../src/api/route.ts';
import type { Env } from './env.ts';
import { Refusal } from './http.ts';
import { readJsonWebToken } from './json-web-token.ts';
import { limitRate } from './rate-limit.ts';

const TOKEN_MAX_CHARACTERS = 4096;
const CHALLENGE = { 'www-authenticate': 'Bearer realm="trigger-guard"' };

/** The actor of a caller without a token, where ANONYMOUS_CLASSIFY allows one. */
const ANONYMOUS = 'anonymous';

/**
 * A caller: who it is, in at most 80 characters that may be stored and shown, and what it may do. `digest` is the configured SHA-256 of its
 * token, `expiresAtMs` the end of its JSON Web Token.
 */
export type Caller = { name: string; roles: readonly Role[]; digest?: string; expiresAtMs?: number };

/** The address that Cloudflare saw, which a caller cannot choose. */
const addressOf = (request: Request): string => request.headers.get('cf-connecting-ip') ?? 'unknown';

/**
 * The caller as `<role>:<name>` when it has one of `roles`; the name is the start of the token's digest, or the subject of a JSON Web
 * Token. Refuses with 401 without a known token, with 403 when the role is another, and with 429 who fails or classifies too often.
 */
export async function authorize(request: Request, env: Env, roles: readonly Role[]): Promise<string> {
  const actor = await identify(request, env, roles);
  if (roles.includes('classify')) {
    await limitRate(env, 'CLASSIFY_LIMIT', actor === ANONYMOUS ? addressOf(request) : actor);
  }
  return actor;
}

/** What is said of the caller; browsers can give a WebSocket no header, so there the token may be among its protocols, as `bearer.<base64url>`. */
function credentials({ headers }: Request): string | null {
  const header = headers.get('authorization');
  if (header !== null || headers.get('upgrade')?.toLowerCase() !== 'websocket') return header;
  const offered = /(?:^|[,\s])bearer\.([\w-]+)/.exec(headers.get('sec-websocket-protocol') ?? '')?.[1];
  if (offered === undefined) return null;
  try {
    return `Bearer ${atob(offered.replaceAll('-', '+').replaceAll('_', '/'))}`;
  } catch {
    return '';
  }
}

async function identify(request: Request, env: Env, roles: readonly Role[]): Promise<string> {
  const header = credentials(request);
  if (header === null && env.ANONYMOUS_CLASSIFY === 'on' && roles.includes('classify')) return ANONYMOUS;
  const caller = await callerOf(request, env, /^Bearer +(\S+)$/i.exec(header ?? '')?.[1]);
  const granted = roles.find((role) => caller.roles.includes(role));
  if (!granted) throw new Refusal(403, 'forbidden', `authorization: expected the role ${roles.join(' or ')}`);
  return `${granted}:${caller.name}`;
}

/** The caller that a token belongs to; refuses with 401 when nobody's, and with 429 who sends such too often. */
export async function callerOf(request: Request, env: Env, token: string | undefined): Promise<Caller> {
  if (!token || token.length > TOKEN_MAX_CHARACTERS) {
    return refuseUnknown(request, env, 'authorization: expected a bearer token');
  }
  const given = new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(token)));
  const caller = callerOfDigest(given, env) ?? (await readJsonWebToken(token, env));
  return caller ?? refuseUnknown(request, env, 'authorization: the token is not known');
}

/** A caller that knows no token is counted by its address: whoever tries many is told nothing more. */
async function refuseUnknown(request: Request, env: Env, message: string): Promise<never> {
  await limitRate(env, 'FAILED_AUTHENTICATION_LIMIT', addressOf(request));
  throw new Refusal(401, 'unauthorized', message, CHALLENGE);
}

const digestsOf = (list: string | undefined): string[] =>
  (list ?? '').split(',').map((digest) => digest.trim().toLowerCase());

/** The caller with a token of this digest, if it is configured; every configured digest is compared, whichever matches. */
export function callerOfDigest(given: Uint8Array, env: Env): Caller | undefined {
  const configured: Record<Role, string[]> = {
    classify: digestsOf(env.CLASSIFY_TOKEN_SHA256),
    publish: digestsOf(env.PUBLISH_TOKEN_SHA256),
    operate: digestsOf(env.OPERATE_TOKEN_SHA256),
    metrics: digestsOf(env.METRICS_TOKEN_SHA256),
  };
  const roles = ROLES.filter((role) => configured[role].filter((digest) => matches(given, digest)).length > 0);
  const digest = hex(given);
  return roles.length ? { name: digest.slice(0, 8), roles, digest } : undefined;
}

/** Compares a digest with a configured one in constant time; a malformed one matches nothing. */
function matches(given: Uint8Array, configured: string): boolean {
  if (!/^[0-9a-f]{64}$/.test(configured)) return false;
  const expected = Uint8Array.from(configured.match(/../g)!, (byte) => Number.parseInt(byte, 16));
  return crypto.subtle.timingSafeEqual(given, expected);
}

const hex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
