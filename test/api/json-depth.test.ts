import fc from 'fast-check';
import { expect, test } from 'vitest';
import { nestsWithin } from '../../src/api/json-depth.ts';

const depthOf = (value: unknown): number =>
  value !== null && typeof value === 'object' ? 1 + Math.max(0, ...Object.values(value).map(depthOf)) : 0;

test('JSON nests within its depth and not within less, whatever its strings hold', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 6 }), fc.string(), (value, text) => {
      const json = { [`"[{\\${text}`]: value };
      const bytes = new TextEncoder().encode(JSON.stringify(json));
      expect(nestsWithin(bytes, depthOf(json))).toBe(true);
      expect(nestsWithin(bytes, depthOf(json) - 1)).toBe(false);
    }),
  );
});

test('bytes that are no JSON are judged too', () => {
  fc.assert(fc.property(fc.uint8Array(), (bytes) => typeof nestsWithin(bytes, 3) === 'boolean'));
});
