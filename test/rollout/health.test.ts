import fc from 'fast-check';
import { expect, test } from 'vitest';
import { LATENCY_BOUNDS_MS, latencyBucket, latencyQuantileMs, noCounts } from '../../src/rollout/health.ts';

const histogram = (latencies: readonly number[]): number[] => {
  const { latency } = noCounts();
  for (const value of latencies) latency[latencyBucket(value)]! += 1;
  return latency;
};

test('a latency quantile lies in the bucket that holds the true one', () => {
  const latencies = fc.array(fc.double({ min: 0, max: 5000, noNaN: true }), { minLength: 1, maxLength: 200 });
  fc.assert(
    fc.property(latencies, fc.double({ min: 0.01, max: 1, noNaN: true }), (values, rank) => {
      const sorted = values.toSorted((a, b) => a - b);
      const truth = sorted[Math.ceil(rank * sorted.length) - 1]!;
      const bucket = latencyBucket(truth);
      const quantile = latencyQuantileMs(histogram(values), rank)!;
      expect(quantile).toBeGreaterThanOrEqual(LATENCY_BOUNDS_MS[bucket - 1] ?? 0);
      expect(quantile).toBeLessThanOrEqual(LATENCY_BOUNDS_MS[bucket]!);
    }),
  );
});

test('nothing is said of no requests, and of the slowest only that they are beyond the last bound', () => {
  expect(latencyQuantileMs(histogram([]), 0.5)).toBeUndefined();
  expect(latencyQuantileMs(histogram([9000]), 0.5)).toBe(5000);
  expect(latencyQuantileMs(histogram([1.5, 1.6, 1.7, 1.8]), 0.5)).toBe(1.5);
});
