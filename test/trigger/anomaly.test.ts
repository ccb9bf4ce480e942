import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { anomalyIndices } from '../../src/trigger/anomaly.ts';

const norm = fc.double({ min: 0.01, max: 1000, noNaN: true });
const norms = fc.array(norm, { minLength: 1, maxLength: 20 });

function expectClose(got: readonly number[], expected: readonly number[]): void {
  expect(got.length).toBe(expected.length);
  got.forEach((value, index) => {
    expect(Math.abs(value - expected[index]!)).toBeLessThan(1e-9 * Math.max(1, Math.abs(value)));
  });
}

describe('anomaly indices', () => {
  test('are largest for the label with a planted small trigger, and far from the others', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 40, max: 60, noNaN: true }), { minLength: 9, maxLength: 9 }),
        fc.nat(9),
        (others, planted) => {
          const indices = anomalyIndices(others.toSpliced(planted, 0, 5));
          // 5 is an eighth of the smallest other norm, and the spread of the others is at most 1.4826 * ln(60 / 40).
          const [largest, second] = indices.toSorted((a, b) => b - a);
          expect(indices.indexOf(largest!)).toBe(planted);
          expect(largest!).toBeGreaterThan(Math.log(8) / (1.4826 * Math.log(1.5)));
          expect(largest!).toBeGreaterThan(second!);
        },
      ),
    );
  });

  test('fall as norms rise: a smaller norm never has the smaller index', () => {
    fc.assert(
      fc.property(norms, (values) => {
        const indices = anomalyIndices(values);
        for (const [a, first] of values.entries()) {
          for (const [b, second] of values.entries()) {
            if (first < second) expect(indices[a]!).toBeGreaterThanOrEqual(indices[b]!);
          }
        }
      }),
    );
  });

  test('do not depend on the unit of the norms', () => {
    fc.assert(
      fc.property(norms, fc.double({ min: 0.01, max: 100, noNaN: true }), (values, factor) => {
        expectClose(anomalyIndices(values.map((value) => factor * value)), anomalyIndices(values));
      }),
    );
  });

  test('follow their labels when these are reordered', () => {
    fc.assert(
      fc.property(norms, fc.nat(), (values, shift) => {
        const rotate = (items: number[]): number[] => items.map((_, index) => items[(index + shift) % items.length]!);
        expect(anomalyIndices(rotate(values))).toEqual(rotate(anomalyIndices(values)));
      }),
    );
  });

  test('are the textbook numbers on a small example', () => {
    // Logs 0, 1, 2, 3, 4: median 2, median absolute deviation 1.
    const indices = anomalyIndices([0, 1, 2, 3, 4].map(Math.exp));
    expectClose(
      indices,
      [2, 1, 0, -1, -2].map((value) => value / 1.4826),
    );
    // Logs 0, 2, 3, 7: median 2.5, deviations 2.5, 0.5, 0.5, 4.5, whose median is 1.5.
    expectClose(
      anomalyIndices([0, 2, 3, 7].map(Math.exp)),
      [2.5, 0.5, -0.5, -4.5].map((value) => value / (1.4826 * 1.5)),
    );
  });

  test('take no difference for an anomaly when all norms are about alike', () => {
    expect(anomalyIndices([10, 10, 10, 10])).toEqual([0, 0, 0, 0]);
    // Without the floor on the spread the first of these would lie infinitely far out.
    expectClose(anomalyIndices([10 * Math.exp(-0.05), 10, 10, 10, 10]), [1, 0, 0, 0, 0]);
  });

  test('stay finite when a trigger vanishes', () => {
    const indices = anomalyIndices([0, 10, 11, 12]);
    expect(indices.every(Number.isFinite)).toBe(true);
    expect(indices.indexOf(Math.max(...indices))).toBe(0);
  });
});
