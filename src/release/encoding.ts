/** Text, base64 and PEM as bytes. `TextEncoder`, `TextDecoder` and `btoa` are the same in Node and at the edge. */
import { failure, success, type Result } from '../result.ts';

declare const TextEncoder: new () => { encode(text: string): Uint8Array };
declare const TextDecoder: new (
  label: 'utf-8',
  options: { fatal: true; ignoreBOM: true },
) => {
  decode(bytes: Uint8Array): string;
};
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

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
const NOT_BASE64 = 64;
/** What each 7-bit character stands for. */
const SEXTETS = Uint8Array.from({ length: 128 }, (_, code) => {
  const value = ALPHABET.indexOf(String.fromCharCode(code));
  return value < 0 ? NOT_BASE64 : value;
});

/** The bytes of base64 text; fails on everything that `encodeBase64` would not have written. */
export function decodeBase64(base64: string): Result<Uint8Array> {
  const wrong = failure('expected base64 in its one canonical form');
  const padding = base64.endsWith('==') ? 2 : base64.endsWith('=') ? 1 : 0;
  if (base64.length % 4 !== 0) return wrong;
  const bytes = new Uint8Array((base64.length / 4) * 3 - padding);
  const end = base64.length - padding;
  // Images of megabytes come this way, so this is a plain loop over bits instead of `atob` and back.
  let bits = 0;
  let bitCount = 0;
  let next = 0;
  for (let index = 0; index < end; index++) {
    const value = SEXTETS[base64.charCodeAt(index)] ?? NOT_BASE64;
    if (value === NOT_BASE64) return wrong;
    bits = ((bits << 6) | value) & 0xffff;
    bitCount += 6;
    if (bitCount < 8) continue;
    bitCount -= 8;
    bytes[next++] = bits >> bitCount;
  }
  const leftOver = bits & ((1 << bitCount) - 1);
  return leftOver === 0 ? success(bytes) : wrong;
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
