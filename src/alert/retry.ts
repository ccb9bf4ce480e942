/** When a sink that failed is tried again, and what is never tried again. */

const FIRST_MS = 1_000;
const LONGEST_MS = 15 * 60_000;

/** The wait after the `attempts`-th failure in a row: doubled each time up to 15 minutes, of which `random` in 0..1 takes up to half away. */
export function retryDelayMs(attempts: number, random: number): number {
  const fullMs = Math.min(FIRST_MS * 2 ** Math.max(attempts - 1, 0), LONGEST_MS);
  return Math.round(fullMs * (1 - random / 2));
}

export type Outcome = 'delivered' | 'refused' | 'failed';

/** What an HTTP status says: 2xx is taken, 400, 413 and 422 say that this very message will never be; everything else may pass. */
export function outcomeOf(status: number): Outcome {
  if (status >= 200 && status < 300) return 'delivered';
  return status === 400 || status === 413 || status === 422 ? 'refused' : 'failed';
}
