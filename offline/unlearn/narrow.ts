/** Bisection of a range of numbers, at whose end something counts as beyond a bound. */

/** The range [low, high], halved a number of times around where values begin to be beyond. */
export async function narrow(
  range: readonly [low: number, high: number],
  halvings: number,
  isBeyond: (value: number) => boolean | Promise<boolean>,
): Promise<[low: number, high: number]> {
  let [low, high] = range;
  for (let halving = 0; halving < halvings; halving++) {
    const middle = (low + high) / 2;
    if (await isBeyond(middle)) high = middle;
    else low = middle;
  }
  return [low, high];
}
