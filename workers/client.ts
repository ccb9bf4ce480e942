/** Who a client is for sticky assignment and for counting: a key that stays the same from request to request. */
import type { Call } from './http.ts';

const HEADER = 'x-client-key';
const KEY_MAX_CHARACTERS = 200;
const HASH_BYTES = 16;

/**
 * The sticky key of a request: what the caller names in `x-client-key` (cut to 200 characters), else the caller's actor, else for
 * anonymous callers the address that Cloudflare saw.
 */
export function clientKey(c: Call): string {
  const named = c.req.header(HEADER)?.trim().slice(0, KEY_MAX_CHARACTERS);
  if (named) return `key:${named}`;
  const actor = c.get('actor') as string | undefined;
  if (actor && !actor.startsWith('anonymous')) return actor;
  return `address:${c.req.header('cf-connecting-ip') ?? 'unknown'}`;
}

/** The only form of a client key that is stored or logged: the first 16 bytes of its SHA-256, hexadecimal. */
export async function clientKeyHash(c: Call): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(clientKey(c)));
  return Array.from(new Uint8Array(digest, 0, HASH_BYTES), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
