/** Which labels have an unusually small universal trigger. */

const median = (values: readonly number[]): number => {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
};

const logOf = (norm: number): number => Math.log(Math.max(norm, 1e-6));

/**
 * How many consistent median absolute deviations a log norm lies below the median of others (negative when above).
 * After Neural Cleanse (Wang et al., IEEE S&P 2019, section 5.2), on log norms because they are ratios that differ.
 */
export function anomalyIndex(norm: number, others: readonly number[]): number {
  const logs = others.map(logOf);
  const centre = median(logs);
  // 1.4826 makes the median absolute deviation the standard deviation of a normal distribution; the floor is a 5 % difference.
  const spread = Math.max(1.4826 * median(logs.map((value) => Math.abs(value - centre))), 0.05);
  return (centre - logOf(norm)) / spread;
}

/** One anomaly index per label, each among all of them. */
export const anomalyIndices = (norms: readonly number[]): number[] => norms.map((norm) => anomalyIndex(norm, norms));
