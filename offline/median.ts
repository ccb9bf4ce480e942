/** The median of some numbers, the upper of the two in the middle of an even count; undefined of none. */
export const upperMedian = (values: readonly number[]): number | undefined =>
  values.toSorted((a, b) => a - b)[values.length >> 1];
