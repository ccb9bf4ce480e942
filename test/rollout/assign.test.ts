import fc from 'fast-check';
import { expect, test } from 'vitest';
import { bucketOf, BUCKETS, getsCanary } from '../../src/rollout/assign.ts';

const { subtle } = crypto;
const clients = Array.from({ length: 5000 }, (_, index) => `client-${index}`);
const bucketsIn = (salt: string) => Promise.all(clients.map((client) => bucketOf(salt, client, subtle)));
const share = (buckets: readonly number[], percent: number) =>
  buckets.filter((bucket) => getsCanary(bucket, percent)).length / buckets.length;

test('a bucket is what the first 32 bits of SHA-256 over salt and key say', async () => {
  // printf 'salt\nclient' | sha256sum begins with 16827165.
  expect(await bucketOf('salt', 'client', subtle)).toBe(Math.floor((0x16827165 / 2 ** 32) * 10_000));
});

test('every percentage gets its share of the clients, and two rollouts draw independently', async () => {
  const [one, two] = await Promise.all([bucketsIn('one'), bucketsIn('two')]);
  // Four standard deviations of a share among 5,000.
  for (const percent of [1, 5, 25, 50]) {
    const rate = percent / 100;
    expect(Math.abs(share(one, percent) - rate)).toBeLessThan(4 * Math.sqrt((rate * (1 - rate)) / clients.length));
  }
  const both = one.filter((bucket, index) => getsCanary(bucket, 50) && getsCanary(two[index]!, 50)).length;
  expect(Math.abs(both / clients.length - 0.25)).toBeLessThan(4 * Math.sqrt(0.1875 / clients.length));
});

test('at 0 % nobody gets the canary, at 100 % everybody', () => {
  for (const bucket of [0, 1, BUCKETS - 1]) {
    expect([getsCanary(bucket, 0), getsCanary(bucket, 100)]).toEqual([false, true]);
  }
});

test('a client keeps its bucket, and raising the percentage never moves it back', () => {
  const percent = fc.double({ min: 0, max: 100, noNaN: true });
  return fc.assert(
    fc.asyncProperty(fc.string(), fc.string(), percent, percent, async (salt, client, a, b) => {
      const bucket = await bucketOf(salt, client, subtle);
      expect(await bucketOf(salt, client, subtle)).toBe(bucket);
      expect(bucket >= 0 && bucket < BUCKETS && Number.isInteger(bucket)).toBe(true);
      if (getsCanary(bucket, Math.min(a, b))) expect(getsCanary(bucket, Math.max(a, b))).toBe(true);
    }),
  );
});
