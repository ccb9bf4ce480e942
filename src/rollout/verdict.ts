/**
 * Is the canary as good as stable? One sequential probability ratio test for each way to be worse: A. Wald, Sequential Tests of Statistical
 * Hypotheses, Annals of Mathematical Statistics 16 (1945). The canary's failures are Bernoulli; `acceptable` and `unacceptable` are
 * the two rates, the first taken from stable's own counts where stable shows what is usual.
 *
 * It differs from Wald's in two ways. The tests are looked at after every report and go on after they were passed, so the upper
 * boundary is ln(1/alpha): a likelihood ratio exceeds it ever with probability alpha at most (Ville's inequality). And stable's rate
 * is estimated, with one failure added to what was seen, so that little data makes a test lenient. The false alarms that this gives
 * are measured by simulation in the tests.
 */
import { errorCount, LATENCY_BOUNDS_MS, type Counts } from './health.ts';
import type { PlanStep } from './plan.ts';
import type { Evidence } from './state.ts';

/** Rates are shares of requests, of images or of comparisons; `factor` multiplies what is usual for stable. */
export type Policy = {
  /** How probable it may be that a test fails an acceptable release, and passes an unacceptable one. */
  falseAlarmRate: number;
  missRate: number;
  /** A test fails nothing on fewer trials. */
  minTrials: number;
  errors: { floor: number; factor: number; margin: number };
  slow: { floor: number; factor: number; margin: number; floorMs: number };
  disagreement: { acceptable: number; unacceptable: number };
  verdicts: { acceptable: number; unacceptable: number };
  confidence: { acceptable: number; unacceptable: number };
};

export const DEFAULT_POLICY: Policy = {
  falseAlarmRate: 0.001,
  missRate: 0.05,
  minTrials: 20,
  errors: { floor: 0.002, factor: 2, margin: 0.02 },
  slow: { floor: 0.05, factor: 1, margin: 0.2, floorMs: 50 },
  disagreement: { acceptable: 0.1, unacceptable: 0.2 },
  verdicts: { acceptable: 0.02, unacceptable: 0.08 },
  confidence: { acceptable: 0.1, unacceptable: 0.3 },
};

/** One question about the canary: `failures` of `trials`. */
export type Test = { name: string; failures: number; trials: number; acceptable: number; unacceptable: number };

/** `undecided` says what is still missing. */
export type Verdict =
  | { verdict: 'failed'; reason: string }
  | { verdict: 'successful' }
  | { verdict: 'undecided'; reason: string };

/** Where one test stands. */
export function testOutcome(test: Test, policy: Policy): 'failed' | 'passed' | 'open' {
  const { failures, trials, acceptable, unacceptable } = test;
  const logRatio =
    failures * Math.log(unacceptable / acceptable) +
    (trials - failures) * Math.log((1 - unacceptable) / (1 - acceptable));
  if (logRatio >= -Math.log(policy.falseAlarmRate) && trials >= policy.minTrials) return 'failed';
  return logRatio <= Math.log(policy.missRate) ? 'passed' : 'open';
}

/** Every question about the canary, those that need clients of its own only where the step gives it some. */
export function testsOf({ canary, stable }: Evidence, step: PlanStep, policy: Policy): Test[] {
  const { compared } = canary;
  const paired = [
    { name: 'disagreement with stable', failures: canary.disagreed, trials: compared, ...policy.disagreement },
    {
      name: "guard's verdict unlike stable's",
      failures: canary.verdictsDiffered,
      trials: compared,
      ...policy.verdicts,
    },
    { name: 'confidence unlike stable', failures: canary.confidenceShifted, trials: compared, ...policy.confidence },
  ];
  if (step.canaryPercent === 0) return paired;
  const bucket = slowBucket(stable, policy.slow);
  return [
    relative('errors', errorCount(canary), canary.requests, errorCount(stable), stable.requests, policy.errors),
    relative(
      'slow answers',
      above(canary, bucket),
      answered(canary),
      above(stable, bucket),
      answered(stable),
      policy.slow,
    ),
    ...paired,
  ];
}

/** The canary's rate against what is usual for stable, which is never taken to be above a half. */
function relative(
  name: string,
  failures: number,
  trials: number,
  stableFailures: number,
  stableTrials: number,
  { floor, factor, margin }: { floor: number; factor: number; margin: number },
): Test {
  const usual = Math.min(0.5, Math.max(floor, (stableFailures + 1) / (stableTrials + 2)));
  return { name, failures, trials, acceptable: usual, unacceptable: Math.min(0.95, factor * usual + margin) };
}

const answered = ({ latency }: Counts): number => latency.reduce((total, requests) => total + requests, 0);

/** The requests in the buckets from `bucket` on. */
const above = ({ latency }: Counts, bucket: number): number =>
  latency.slice(bucket).reduce((total, requests) => total + requests, 0);

/** The first bucket of what counts as slow: a bound beyond the one that 95 % of stable's requests keep, and beyond `floorMs`. */
function slowBucket(stable: Counts, { floor, floorMs }: Policy['slow']): number {
  const usual = stable.latency.findIndex((_, bucket) => above(stable, bucket + 1) <= floor * answered(stable));
  const tolerated = LATENCY_BOUNDS_MS.findIndex((bound) => bound >= floorMs);
  return Math.max(usual + 2, tolerated + 1);
}

/** The sample that a step asks a minimum of. */
const sampleOf = ({ canary }: Evidence, { canaryPercent }: PlanStep): number =>
  canaryPercent === 0 ? canary.compared : canary.requests;

/** What the evidence of a step says. A release fails by one test, and succeeds when every test is passed on the step's minimum of requests. */
export function verdictOf(evidence: Evidence, step: PlanStep, policy: Policy): Verdict {
  const tests = testsOf(evidence, step, policy);
  const failed = tests.find((test) => testOutcome(test, policy) === 'failed');
  if (failed) return { verdict: 'failed', reason: `${failed.name}: ${share(failed)}` };
  const sample = sampleOf(evidence, step);
  if (sample < step.minRequests) {
    const unit = step.canaryPercent === 0 ? 'comparisons' : 'requests';
    return { verdict: 'undecided', reason: `${sample} of at least ${step.minRequests} ${unit}` };
  }
  const open = tests.find((test) => testOutcome(test, policy) === 'open');
  return open ? { verdict: 'undecided', reason: `${open.name}: ${share(open)}` } : { verdict: 'successful' };
}

const percent = (rate: number): string => `${Number((100 * rate).toFixed(1))} %`;
const share = ({ failures, trials, acceptable, unacceptable }: Test): string =>
  `${failures} of ${trials}, where ${percent(acceptable)} is acceptable and ${percent(unacceptable)} is not`;
