/**
 * JSON Web Tokens of one issuer, whose public keys are read from its JWKS and kept for ten minutes. The roles are in the claim `roles`
 * (RFC 9068, 2.2.3.1), as a list or one string. Only asymmetric algorithms: with others whoever checks a token could make one.
 */
import { createRemoteJWKSet, customFetch, errors, jwtVerify, type JWTVerifyGetKey } from 'jose';
import { ROLES, type Role } from '../src/api/route.ts';
import type { Env } from './env.ts';
import { readStream, Refusal } from './http.ts';

const ALGORITHMS = ['RS256', 'ES256', 'EdDSA'];
const CLOCK_TOLERANCE_SECONDS = 30;
const KEYS_MAX_AGE_MS = 600_000;
const KEYS_TIMEOUT_MS = 3_000;
const KEYS_RETRY_MS = 10_000;
const KEYS_LIMIT_BYTES = 256 << 10;
const SUBJECT_MAX_CHARACTERS = 64;

/** The keys of this isolate, where they are from, and when reading them failed last. */
const isolate: { url?: string; keys?: JWTVerifyGetKey; failedAtMs: number } = { failedAtMs: -Infinity };

class KeysUnavailable extends Error {}

type Bearer = { name: string; roles: Role[]; expiresAtMs: number };

/** The subject and roles of a valid token, and when it ends; undefined for any other, and where no issuer is configured. Refuses with 503 when the keys cannot be read. */
export async function readJsonWebToken(token: string, env: Env): Promise<Bearer | undefined> {
  const { JWT_JWKS_URL: url, JWT_ISSUER: issuer, JWT_AUDIENCE: audience } = env;
  if (!url || !issuer || !audience || token.split('.').length !== 3) return undefined;
  try {
    const { payload } = await jwtVerify(token, keysAt(url), {
      issuer,
      audience,
      algorithms: ALGORITHMS,
      requiredClaims: ['exp', 'sub'],
      clockTolerance: CLOCK_TOLERANCE_SECONDS,
    });
    if (typeof payload.sub !== 'string') return undefined;
    const claimed = [payload['roles']].flat();
    const roles = ROLES.filter((role) => claimed.includes(role));
    return { name: `jwt:${shown(payload.sub)}`, roles, expiresAtMs: payload.exp! * 1000 };
  } catch (error) {
    if (error instanceof errors.JOSEError && !(error instanceof errors.JWKSInvalid)) return undefined;
    console.error(JSON.stringify({ event: 'token_keys_not_read', error: String(error) }));
    const headers = { 'retry-after': String(KEYS_RETRY_MS / 1000) };
    throw new Refusal(503, 'keys_unavailable', 'the keys that check this token cannot be read', headers);
  }
}

/** A subject is the issuer's choice; what is stored and shown of it is short and plain. */
const shown = (subject: string): string => subject.replaceAll(/[^\x21-\x7e]/g, '?').slice(0, SUBJECT_MAX_CHARACTERS);

function keysAt(url: string): JWTVerifyGetKey {
  if (!isolate.keys || isolate.url !== url) {
    if (!url.startsWith('https://')) throw new KeysUnavailable('JWT_JWKS_URL: expected an https address');
    const options = { cacheMaxAge: KEYS_MAX_AGE_MS, timeoutDuration: KEYS_TIMEOUT_MS, [customFetch]: readKeys };
    isolate.keys = createRemoteJWKSet(new URL(url), options);
    isolate.url = url;
  }
  return isolate.keys;
}

/** Reads the keys within limits. Whoever sends tokens must not make this worker ask a failing issuer for each. */
async function readKeys(...[url, init]: Parameters<typeof fetch>): Promise<Response> {
  if (Date.now() - isolate.failedAtMs < KEYS_RETRY_MS) throw new KeysUnavailable('not asked again yet');
  try {
    const response = await fetch(url, init);
    if (response.status !== 200) throw new KeysUnavailable(`answered ${response.status}`);
    const body = await readStream(response.body, KEYS_LIMIT_BYTES, KEYS_TIMEOUT_MS);
    const keys = JSON.parse(new TextDecoder().decode(body)) as { keys?: unknown } | null;
    if (!Array.isArray(keys?.keys)) throw new KeysUnavailable('expected a key set');
    return Response.json(keys);
  } catch (error) {
    isolate.failedAtMs = Date.now();
    throw new KeysUnavailable(String(error));
  }
}
