import { describe, expect, test } from 'vitest';
import { effectiveness, truePositiveRate } from '../../offline/bench/defense/measure.ts';
import type { Rates } from '../../offline/bench/defense/record.ts';

describe('figures', () => {
  const rates = (cleanAccuracy: number, attackSuccessRate: number | null): Rates => ({
    cleanAccuracy,
    attackSuccessRate,
    robustAccuracy: null,
    highestHitRate: null,
    highestHitLabel: null,
    targetRecall: null,
  });

  test('the effectiveness is 1 for a perfect defence, a half for none, less for one that only costs accuracy', () => {
    expect(effectiveness(rates(0.9, 1), rates(0.9, 0))).toBe(1);
    expect(effectiveness(rates(0.9, 1), rates(0.95, 1))).toBe(0.5);
    expect(effectiveness(rates(0.9, 0.9), rates(0.7, 0.95))).toBeCloseTo(0.4, 10);
    // BadNets under FT-SAM in table 1 of its paper.
    expect(effectiveness(rates(0.9182, 0.9379), rates(0.9221, 0.0163))).toBeCloseTo(0.9608, 4);
    expect(effectiveness(rates(0.9, null), rates(0.9, null))).toBe(null);
  });

  test('true positives are counted above all but the allowed share of the negatives', () => {
    const negatives = Float32Array.from({ length: 1000 }, (_, index) => index);
    const positives = Float32Array.of(998.5, 993.5, 995.5, 1e6);
    expect(truePositiveRate(positives, negatives, 0.001)).toBe(0.5);
    expect(truePositiveRate(positives, negatives, 0.005)).toBe(0.75);
    expect(truePositiveRate(positives, negatives, 0)).toBe(0.25);
    expect(truePositiveRate(negatives, negatives.fill(3), 0.5)).toBe(0);
  });
});
