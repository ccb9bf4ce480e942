/** Who may call what: bearer tokens of which the worker only knows the SHA-256. */
import { ROLES, type Role } from '../src/api/route.ts';
import type { Env } from './env.ts';
import { Refusal } from './http.ts';

const TOKEN_MAX_CHARACTERS = 512;
const CHALLENGE = { 'www-authenticate': 'Bearer realm="trigger-guard"' };

const digestsOf = (list: string | undefined): string[] =>
  (list ?? '').split(',').map((digest) => digest.trim().toLowerCase());

/**
 * The caller as `<role>:<start of the token's digest>` when its token has one of `roles`; refuses with 401 without a known token and with 403
 * when the role is another. A role without configured digests has no tokens, so whatever needs it is refused.
 */
export async function authorize(request: Request, env: Env, roles: readonly Role[]): Promise<string> {
  const token = /^Bearer +(\S+)$/i.exec(request.headers.get('authorization') ?? '')?.[1];
  if (!token || token.length > TOKEN_MAX_CHARACTERS) {
    throw new Refusal(401, 'unauthorized', 'authorization: expected a bearer token', CHALLENGE);
  }
  const given = new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(token)));
  const configured: Record<Role, string[]> = {
    classify: digestsOf(env.CLASSIFY_TOKEN_SHA256),
    publish: digestsOf(env.PUBLISH_TOKEN_SHA256),
    operate: digestsOf(env.OPERATE_TOKEN_SHA256),
  };
  let known = false;
  let granted: Role | undefined;
  for (const role of ROLES) {
    for (const digest of configured[role]) {
      if (!matches(given, digest)) continue;
      known = true;
      if (roles.includes(role)) granted = role;
    }
  }
  if (!known) throw new Refusal(401, 'unauthorized', 'authorization: the token is not known', CHALLENGE);
  if (!granted) throw new Refusal(403, 'forbidden', `authorization: expected the role ${roles.join(' or ')}`);
  return `${granted}:${hex(given).slice(0, 8)}`;
}

/** Compares a digest with a configured one in constant time; a malformed one matches nothing. */
function matches(given: Uint8Array, configured: string): boolean {
  if (!/^[0-9a-f]{64}$/.test(configured)) return false;
  const expected = Uint8Array.from(configured.match(/../g)!, (byte) => Number.parseInt(byte, 16));
  return crypto.subtle.timingSafeEqual(given, expected);
}

const hex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
