/** The health of a release as counts: what isolates gather, what the rollout judges, what charts show. Counts of two times or places add up. */
import * as z from 'zod';

/** Upper bounds (ms, inclusive) of the latency histogram; one more bucket holds what is slower. */
export const LATENCY_BOUNDS_MS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000] as const;

const count = z.int().min(0);
const sum = z.number().min(0);

/**
 * `requests` were answered by the release or failed on it, with `images` in those that it answered. Errors: `guard`, the model or
 * the guard gave no verdict; `load`, it could not be loaded or verified. `compared` images also ran on the other release:
 * `disagreed` have another label, `verdictsDiffered` another verdict of the guard, `confidenceShifted` a top score that is more than
 * 0.25 away.
 */
export const countsSchema = z.strictObject({
  requests: count,
  images: count,
  errors: z.strictObject({ guard: count, load: count }),
  suspects: count,
  confidenceSum: sum,
  latency: z.array(count).length(LATENCY_BOUNDS_MS.length + 1),
  latencySumMs: sum,
  compared: count,
  disagreed: count,
  verdictsDiffered: count,
  confidenceShifted: count,
});
export type Counts = z.infer<typeof countsSchema>;

/** Counts by the digest of their release. */
export const deltasSchema = z.record(z.string(), countsSchema);
export type Deltas = z.infer<typeof deltasSchema>;

/** Two answers to one image whose top scores are further apart than this count as a shift of confidence. */
export const CONFIDENCE_SHIFT = 0.25;

/** Counts of nothing. */
export const noCounts = (): Counts => ({
  requests: 0,
  images: 0,
  errors: { guard: 0, load: 0 },
  suspects: 0,
  confidenceSum: 0,
  latency: Array.from({ length: LATENCY_BOUNDS_MS.length + 1 }, () => 0),
  latencySumMs: 0,
  compared: 0,
  disagreed: 0,
  verdictsDiffered: 0,
  confidenceShifted: 0,
});

/** The counts of both together. */
export function addCounts(a: Counts, b: Counts): Counts {
  return {
    requests: a.requests + b.requests,
    images: a.images + b.images,
    errors: { guard: a.errors.guard + b.errors.guard, load: a.errors.load + b.errors.load },
    suspects: a.suspects + b.suspects,
    confidenceSum: a.confidenceSum + b.confidenceSum,
    latency: a.latency.map((requests, bucket) => requests + b.latency[bucket]!),
    latencySumMs: a.latencySumMs + b.latencySumMs,
    compared: a.compared + b.compared,
    disagreed: a.disagreed + b.disagreed,
    verdictsDiffered: a.verdictsDiffered + b.verdictsDiffered,
    confidenceShifted: a.confidenceShifted + b.confidenceShifted,
  };
}

/** The bucket of the histogram that a latency (ms) falls in. */
export function latencyBucket(latencyMs: number): number {
  const bucket = LATENCY_BOUNDS_MS.findIndex((bound) => latencyMs <= bound);
  return bucket < 0 ? LATENCY_BOUNDS_MS.length : bucket;
}

/** All errors, whatever their kind. */
export const errorCount = ({ errors }: Counts): number => errors.guard + errors.load;

/**
 * The latency (ms) that the share `rank` of the requests keeps, read off the histogram by going straight through the bucket that it falls in;
 * of what is slower than the last bound only that is known. Undefined without requests.
 */
export function latencyQuantileMs(latency: readonly number[], rank: number): number | undefined {
  const wanted = rank * latency.reduce((total, requests) => total + requests, 0);
  if (wanted === 0) return undefined;
  let below = 0;
  for (const [bucket, bound] of LATENCY_BOUNDS_MS.entries()) {
    const requests = latency[bucket]!;
    if (below + requests >= wanted) {
      const start = LATENCY_BOUNDS_MS[bucket - 1] ?? 0;
      return start + ((bound - start) * (wanted - below)) / requests;
    }
    below += requests;
  }
  return LATENCY_BOUNDS_MS.at(-1);
}
