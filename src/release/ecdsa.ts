/**
 * The two encodings of an ECDSA P-256 signature (r, s): DER, as bundles carry it (RFC 3279, section 2.2.3), and r || s in 64
 * bytes, as WebCrypto wants it (IEEE P1363). Both directions are exact: every signature has one DER encoding and no other is read.
 */
import { failure, success, type Result } from '../result.ts';

const SCALAR_BYTES = 32;
const SEQUENCE = 0x30;
const INTEGER = 0x02;

/** DER of a signature r || s [64 bytes]; throws when the length is not 64. */
export function signatureToDer(signature: Uint8Array): Uint8Array {
  if (signature.length !== 2 * SCALAR_BYTES) {
    throw new Error(`ecdsa: expected ${2 * SCALAR_BYTES} bytes of r || s, got ${signature.length}`);
  }
  const body = [0, SCALAR_BYTES].flatMap((start) => {
    const scalar = [...signature.subarray(start, start + SCALAR_BYTES)];
    while (scalar.length > 1 && scalar[0] === 0) scalar.shift();
    if (scalar[0]! >= 0x80) scalar.unshift(0);
    return [INTEGER, scalar.length, ...scalar];
  });
  return Uint8Array.from([SEQUENCE, body.length, ...body]);
}

/** The signature r || s [64 bytes] that DER holds; fails on a wrong tag or length, trailing bytes, and integers that are not minimal or out of range. */
export function signatureFromDer(der: Uint8Array): Result<Uint8Array> {
  if (der[0] !== SEQUENCE || der[1] !== der.length - 2 || der[1] >= 0x80) {
    return failure(`expected a DER sequence as long as the signature (${der.length} bytes)`);
  }
  const signature = new Uint8Array(2 * SCALAR_BYTES);
  let position = 2;
  for (const [index, name] of ['r', 's'].entries()) {
    const length = der[position + 1];
    if (der[position] !== INTEGER || length === undefined || length === 0 || position + 2 + length > der.length) {
      return failure(`expected a DER integer ${name}`);
    }
    const digits = der.subarray(position + 2, position + 2 + length);
    const padded = digits[0] === 0 && length > 1;
    if (digits[0]! >= 0x80) return failure(`${name} is negative`);
    if (padded && digits[1]! < 0x80) return failure(`${name} is not encoded in its shortest form`);
    const scalar = padded ? digits.subarray(1) : digits;
    if (scalar.length > SCALAR_BYTES) return failure(`${name} is longer than ${SCALAR_BYTES} bytes`);
    signature.set(scalar, (index + 1) * SCALAR_BYTES - scalar.length);
    position += 2 + length;
  }
  return position === der.length ? success(signature) : failure('bytes are left over behind r and s');
}
