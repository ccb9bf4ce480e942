import { generateKeyPairSync, sign, verify } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { signatureFromDer, signatureToDer } from '../../src/release/ecdsa.ts';

const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const raw = { key: privateKey, dsaEncoding: 'ieee-p1363' } as const;
const der = { key: privateKey, dsaEncoding: 'der' } as const;

const hex = (digits: string): Uint8Array => new Uint8Array(Buffer.from(digits.replaceAll(' ', ''), 'hex'));
/** Scalars that start with zero bytes or with a high bit, where DER and r || s differ most. */
const scalar = fc
  .tuple(fc.integer({ min: 0, max: 32 }), fc.uint8Array({ minLength: 32, maxLength: 32 }))
  .map(([zeros, bytes]) => bytes.fill(0, 0, zeros));
const signatures = fc.tuple(scalar, scalar).map(([r, s]) => Uint8Array.from([...r, ...s]));

describe('ECDSA signature encodings', () => {
  test('node:crypto accepts as DER what it signed as r || s, and the other way round', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (message) => {
        const toDer = signatureToDer(new Uint8Array(sign('sha256', message, raw)));
        expect(verify('sha256', message, { key: publicKey, dsaEncoding: 'der' }, toDer)).toBe(true);
        const fromDer = signatureFromDer(new Uint8Array(sign('sha256', message, der)));
        if (!fromDer.ok) throw new Error(fromDer.error);
        expect(verify('sha256', message, { key: publicKey, dsaEncoding: 'ieee-p1363' }, fromDer.value)).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  test('every r || s comes back from its DER encoding', () => {
    fc.assert(
      fc.property(signatures, (signature) => {
        expect(signatureFromDer(signatureToDer(signature))).toEqual({ ok: true, value: signature });
      }),
    );
  });

  test('what is read as DER is the one encoding of its value, whatever byte was changed, dropped or added', () => {
    const edits = fc.record({ at: fc.nat(75), byte: fc.nat(255), kind: fc.constantFrom('change', 'drop', 'add') });
    fc.assert(
      fc.property(signatures, edits, (signature, { at, byte, kind }) => {
        const edited = [...signatureToDer(signature)];
        edited.splice(at, kind === 'add' ? 0 : 1, ...(kind === 'drop' ? [] : [byte]));
        const parsed = signatureFromDer(Uint8Array.from(edited));
        if (parsed.ok) expect([...signatureToDer(parsed.value)]).toEqual(edited);
      }),
      { numRuns: 3000 },
    );
  });

  test.each([
    ['nothing', '', /DER sequence/],
    ['another tag than a sequence', '31 06 020101 020101', /DER sequence/],
    ['a sequence that claims more bytes', '30 07 020101 020101', /DER sequence/],
    ['a length in two bytes', '30 81 06 020101 020101', /DER sequence/],
    ['another tag than an integer', '30 06 030101 020101', /integer r/],
    ['an integer without digits', '30 05 0200 020101', /integer r/],
    ['an integer that runs past the end', '30 06 020101 020201', /integer s/],
    ['a missing s', '30 03 020101', /integer s/],
    ['a negative r', '30 06 020181 020101', /r is negative/],
    ['a needless zero in s', '30 07 020101 02020001', /s is not encoded in its shortest form/],
    ['33 significant bytes', `30 26 0221${'01'.repeat(33)} 020101`, /r is longer than 32 bytes/],
    ['bytes behind s', '30 07 020101 020101 00', /left over/],
  ])('refuses %s', (_, digits, reason) => {
    const parsed = signatureFromDer(hex(digits));
    expect(parsed.ok ? 'accepted' : parsed.error).toMatch(reason);
  });

  test('throws on r || s of another length', () => {
    expect(() => signatureToDer(new Uint8Array(63))).toThrow('expected 64 bytes');
  });
});
