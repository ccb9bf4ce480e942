import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodeBase64, encodeBase64 } from '../../src/release/encoding.ts';

test('base64 is what Node writes, and comes back as the same bytes', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      const text = Buffer.from(bytes).toString('base64');
      expect(encodeBase64(bytes)).toBe(text);
      expect(decodeBase64(text)).toEqual({ ok: true, value: bytes });
    }),
  );
});

test('text is base64 only if encoding its bytes gives the same text again', () => {
  const texts = fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom('A', 'Q', 'g', '=', '/', '-', '\n', 'é') }));
  fc.assert(
    fc.property(texts, (text) => {
      expect(decodeBase64(text).ok).toBe(Buffer.from(text, 'base64').toString('base64') === text);
    }),
    { numRuns: 2000 },
  );
});
