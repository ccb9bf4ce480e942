/**
 * Who is signed in: a cookie that the worker signs and nothing else keeps. It holds the SHA-256 of the token, never the token, and the roles are
 * looked up again with every request, so that a token that is taken back ends its sessions at once; those of a JSON Web Token end with it.
 */
import { deleteCookie, getCookie, setCookie } from 'hono/cookie';
import { errors, jwtVerify, SignJWT } from 'jose';
import * as z from 'zod';
import { ROLES } from '../../src/api/route.ts';
import { callerOfDigest, type Caller } from '../auth.ts';
import type { Env } from '../env.ts';
import { Refusal, type Call } from '../http.ts';

/** Browsers take a cookie of this name only over HTTPS, for this host and from it. */
const COOKIE = '__Host-console';
const LIFETIME_MS = 8 * 3_600_000;
const KEY_MIN_CHARACTERS = 32;
/** A session is no JSON Web Token of anybody else's, and the reverse. */
const AUDIENCE = 'trigger-guard-console';

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const sessionSchema = z.object({
  name: z.string(),
  roles: z.array(z.enum(ROLES)),
  digest: sha256.optional(),
  formKey: z.string(),
  exp: z.int(),
});

/** `formKey` is in every form, so that only this console's own pages can post. */
export type Session = Caller & { formKey: string; expiresAtMs: number };

function signingKey({ CONSOLE_SESSION_KEY: key = '' }: Env): Uint8Array {
  if (key.length < KEY_MIN_CHARACTERS) {
    const message = `the console is off: its secret CONSOLE_SESSION_KEY is not set to ${KEY_MIN_CHARACTERS} characters or more`;
    throw new Refusal(503, 'console_off', message);
  }
  return new TextEncoder().encode(key);
}

/** Signs a caller in on this browser. */
export async function openSession(c: Call, { name, roles, digest, expiresAtMs = Infinity }: Caller): Promise<void> {
  const endMs = Math.min(Date.now() + LIFETIME_MS, expiresAtMs);
  const session = { name, roles, ...(digest !== undefined && { digest }), formKey: crypto.randomUUID() };
  const value = await new SignJWT(session)
    .setProtectedHeader({ alg: 'HS256' })
    .setAudience(AUDIENCE)
    .setExpirationTime(Math.floor(endMs / 1000))
    .sign(signingKey(c.env));
  setCookie(c, COOKIE, value, {
    path: '/',
    secure: true,
    httpOnly: true,
    sameSite: 'Strict',
    maxAge: Math.floor((endMs - Date.now()) / 1000),
  });
}

/** The session of a request, if it has one that still holds. */
export async function readSession(c: Call): Promise<Session | undefined> {
  const key = signingKey(c.env);
  const cookie = getCookie(c, COOKIE);
  if (cookie === undefined) return undefined;
  try {
    const { payload } = await jwtVerify(cookie, key, { algorithms: ['HS256'], audience: AUDIENCE });
    const { exp, digest, ...said } = sessionSchema.parse(payload);
    const session = { ...said, expiresAtMs: exp * 1000 };
    if (digest === undefined) return session;
    const bytes = Uint8Array.from(digest.match(/../g)!, (byte) => Number.parseInt(byte, 16));
    const caller = callerOfDigest(bytes, c.env);
    return caller && { ...session, ...caller };
  } catch (error) {
    if (error instanceof errors.JOSEError || error instanceof z.ZodError) return undefined;
    throw error;
  }
}

/** Signs out on this browser. */
export function closeSession(c: Call): void {
  deleteCookie(c, COOKIE, { path: '/', secure: true });
}

/** Refuses a post that does not come from a page of this worker: a browser always says where a post is from. */
export function expectOwnOrigin(c: Call): void {
  if (c.req.header('origin') !== new URL(c.req.url).origin) {
    throw new Refusal(403, 'foreign_form', 'this form was not sent from the console');
  }
}

/** Refuses a form that was not made for this session. */
export function expectFormKey(session: Session, given: string | null): void {
  const [a, b] = [given ?? '', session.formKey].map((text) => new TextEncoder().encode(text));
  if (a!.length !== b!.length || !crypto.subtle.timingSafeEqual(a!, b!)) {
    throw new Refusal(403, 'foreign_form', 'this form is not from your session: open its page again');
  }
}
