import fc from 'fast-check';
import { expect, test } from 'vitest';
import { narrow } from '../../offline/unlearn/narrow.ts';

test('a range narrows to where values begin to be beyond a bound, by half at each step', async () => {
  const values = fc.double({ min: -4, max: 4, noNaN: true });
  const range = fc.tuple(values, values).map(([one, other]) => [Math.min(one, other), Math.max(one, other)] as const);
  const halvings = fc.integer({ min: 0, max: 20 });
  await fc.assert(
    fc.asyncProperty(range, halvings, fc.double({ min: 0, max: 1, noNaN: true }), async ([low, high], count, share) => {
      const bound = low + share * (high - low);
      const [least, most] = await narrow([low, high], count, (value) => value > bound);
      expect(most - least).toBeCloseTo((high - low) / 2 ** count, 9);
      expect(least).toBeLessThanOrEqual(bound + 1e-12);
      expect(most).toBeGreaterThanOrEqual(bound - 1e-12);
    }),
  );
});

test('a range in which nothing is beyond narrows to its end, one that is beyond everywhere to its beginning', async () => {
  expect(await narrow([0, 8], 3, () => false)).toEqual([7, 8]);
  expect(await narrow([0, 8], 3, async () => true)).toEqual([0, 1]);
});
