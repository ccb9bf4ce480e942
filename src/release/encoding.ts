/** Text, base64 and PEM as bytes. `TextEncoder`, `TextDecoder`, `atob` and `btoa` are the same in Node and at the edge. */
import { failure, success, type Result } from '../result.ts';

declare const TextEncoder: new () => { encode(text: string): Uint8Array };
declare const TextDecoder: new (
  label: 'utf-8',
  options: { fatal: true; ignoreBOM: true },
) => {
  decode(bytes: Uint8Array): string;
};
declare const atob: (base64: string) => string;
declare const btoa: (binary: string) => string;

/** The UTF-8 bytes of a text. */
export const encodeText = (text: string): Uint8Array => new TextEncoder().encode(text);

/** The text of UTF-8 bytes, the byte order mark kept; fails when they are not valid UTF-8. */
function decodeText(bytes: Uint8Array): Result<string> {
  try {
    return success(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch {
    return failure('expected UTF-8 text, got other bytes');
  }
}

/** The JSON value that UTF-8 bytes hold. */
export function decodeJson(bytes: Uint8Array): Result<unknown> {
  const text = decodeText(bytes);
  if (!text.ok) return text;
  try {
    return success(JSON.parse(text.value));
  } catch {
    return failure('expected JSON, got other text');
  }
}

/** Base64 with the standard alphabet and padding (RFC 4648, section 4). */
export const encodeBase64 = (bytes: Uint8Array): string =>
  btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));

/** The bytes of base64 text; fails on everything that `encodeBase64` would not have written. */
export function decodeBase64(base64: string): Result<Uint8Array> {
  try {
    const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    if (encodeBase64(bytes) === base64) return success(bytes);
  } catch {
    // The same sentence as for text that decodes, but not back to itself.
  }
  return failure('expected base64 in its one canonical form');
}

/** Lower-case hexadecimal digits of bytes. */
export const encodeHex = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');

/** A public key (SPKI, DER) as PEM text: lines of 64 characters and a newline at the end (RFC 7468). */
export function publicKeyPem(spki: Uint8Array): string {
  const lines = encodeBase64(spki).match(/.{1,64}/g) ?? [];
  return ['-----BEGIN PUBLIC KEY-----', ...lines, '-----END PUBLIC KEY-----', ''].join('\n');
}

/** Whether two byte arrays hold the same bytes. */
export const sameBytes = (left: Uint8Array, right: Uint8Array): boolean =>
  left.length === right.length && left.every((byte, index) => byte === right[index]);
