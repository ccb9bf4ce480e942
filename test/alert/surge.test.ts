import { expect, test } from 'vitest';
import { isSurge } from '../../src/alert/surge.ts';

/** The chance of at least `suspects` of `images` at `rate`, summed from its definition. */
function tail(suspects: number, images: number, rate: number): number {
  let chance = (1 - rate) ** images;
  let below = 0;
  for (let hits = 0; hits < suspects; hits += 1) {
    below += chance;
    chance *= ((images - hits) / (hits + 1)) * (rate / (1 - rate));
  }
  return 1 - below;
}

test.each([
  [100, 0.01],
  [500, 0.02],
  [900, 0.05],
])('of %i images at a rate of %f, a surge is what has a chance below one in a million', (images, rate) => {
  const first = Array.from({ length: images }, (_, suspects) => suspects).find((suspects) =>
    isSurge(suspects, images, rate),
  )!;
  expect(tail(first, images, rate)).toBeLessThan(1.01e-6);
  expect(tail(first - 1, images, rate)).toBeGreaterThan(0.99e-6);
});

test('a handful of suspects is no surge, however few the images', () => {
  expect(isSurge(4, 4, 0.001)).toBe(false);
  expect(isSurge(0, 0, 0.001)).toBe(false);
});
