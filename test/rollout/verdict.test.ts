import { describe, expect, test } from 'vitest';
import { addCounts, noCounts, type Counts } from '../../src/rollout/health.ts';
import type { PlanStep } from '../../src/rollout/plan.ts';
import { DEFAULT_POLICY, testOutcome, verdictOf, type Verdict } from '../../src/rollout/verdict.ts';
import { uniform } from '../support/uniform.ts';
import { counts } from './histories.ts';

const step: PlanStep = { canaryPercent: 5, holdSeconds: 60, minRequests: 100, deadlineSeconds: 600 };
const judge = (canary: Counts, stable = counts(2000)) => verdictOf({ canary, stable }, step, DEFAULT_POLICY);

const reasonOf = (verdict: Verdict): string => ('reason' in verdict ? `${verdict.verdict}: ${verdict.reason}` : '');

describe('one test', () => {
  const asked = { name: 'x', acceptable: 0.1, unacceptable: 0.2 };
  const outcome = (failures: number, trials: number) => testOutcome({ ...asked, failures, trials }, DEFAULT_POLICY);

  test('has the boundaries of Wald, worked out by hand', () => {
    // ln(0.05) / ln(0.8 / 0.9) = 25.4 trials without a failure pass.
    expect([outcome(0, 25), outcome(0, 26)]).toEqual(['open', 'passed']);
    // 9.97 = ln(1000) / ln(2) failures in as many trials would fail, but not on fewer than 20 trials.
    expect([outcome(10, 10), outcome(12, 20), outcome(11, 20)]).toEqual(['open', 'failed', 'open']);
  });

  test('fails an acceptable release with the probability asked at most, however often one looks', () => {
    const random = uniform(1);
    let failed = 0;
    for (let run = 0; run < 4000; run += 1) {
      for (let trials = 1, failures = 0; trials <= 400; trials += 1) {
        if (random() < asked.acceptable) failures += 1;
        if (outcome(failures, trials) !== 'failed') continue;
        failed += 1;
        break;
      }
    }
    // Expected at most 4; 13 or more of 4,000 have a probability below 0.001 at a rate of 0.001.
    expect(failed).toBeLessThan(13);
  });
});

describe('the verdict', () => {
  test('is successful on the minimum of requests without a fault, and undecided on one fewer', () => {
    expect(reasonOf(judge(counts(100)))).toMatch(/^undecided: errors: 0 of 100/);
    expect(judge(counts(200))).toEqual({ verdict: 'successful' });
    expect(judge(counts(99))).toEqual({ verdict: 'undecided', reason: '99 of at least 100 requests' });
  });

  test.each([
    ['errors', { errors: 10 }],
    ['slow answers', { slow: 60 }],
    ['disagreement with stable', { disagreed: 60 }],
  ] as const)('names %s', (name, faults) => {
    const verdict = judge(counts(200, faults));
    expect(reasonOf(verdict)).toMatch(`failed: ${name}: `);
  });

  test.each([
    ["guard's verdict unlike stable's", { verdictsDiffered: 40 }],
    ['confidence unlike stable', { confidenceShifted: 80 }],
  ])('names %s', (name, faults) => {
    const verdict = judge(addCounts(counts(200), { ...noCounts(), ...faults }));
    expect(reasonOf(verdict)).toMatch(`failed: ${name}: `);
  });

  test('does NOT blame the canary for errors and slowness that stable shows too', () => {
    const troubled = (requests: number) => counts(requests, { errors: requests / 10, slow: requests / 10 });
    expect(judge(troubled(1000), troubled(1000)).verdict).toBe('successful');
    expect(judge(troubled(1000)).verdict).toBe('failed');
  });

  test('counts a canary that could not be loaded as failing', () => {
    const unloadable = { ...noCounts(), requests: 30, errors: { guard: 0, load: 30 } };
    expect(judge(unloadable)).toMatchObject({ verdict: 'failed' });
  });

  test('asks in shadow for comparisons only', () => {
    const shadow = { ...step, canaryPercent: 0 };
    const evidence = (disagreed: number) => ({
      canary: { ...noCounts(), compared: 200, disagreed },
      stable: counts(2000),
    });
    expect(verdictOf(evidence(2), shadow, DEFAULT_POLICY)).toEqual({ verdict: 'successful' });
    expect(verdictOf(evidence(60), shadow, DEFAULT_POLICY).verdict).toBe('failed');
  });
});

/** One canary request after another, half of them compared; answers how it ended and after how many. */
function course(
  disagreementRate: number,
  errorRate: number,
  random: () => number,
): { verdict: string; requests: number } {
  let canary = noCounts();
  let stable = noCounts();
  for (let requests = 1; requests <= 2000; requests += 1) {
    const compared = requests % 2;
    canary = addCounts(canary, { ...counts(1, random() < errorRate ? { errors: 1 } : {}), compared: 0 });
    canary = { ...canary, compared: canary.compared + compared };
    if (compared && random() < disagreementRate) canary = { ...canary, disagreed: canary.disagreed + 1 };
    stable = addCounts(stable, counts(1, random() < 0.002 ? { errors: 1 } : {}));
    const { verdict } = verdictOf({ canary, stable }, { ...step, minRequests: 200 }, DEFAULT_POLICY);
    if (verdict !== 'undecided') return { verdict, requests };
  }
  return { verdict: 'undecided', requests: 2000 };
}

describe('in 500 simulated rollouts each', () => {
  const random = uniform(7);
  const courses = (disagreement: number, errors: number) =>
    Array.from({ length: 500 }, () => course(disagreement, errors, random));

  test('a canary that disagrees on 30 % of the images is taken back within 500 of its requests', () => {
    const ends = courses(0.3, 0);
    expect(ends.filter(({ verdict }) => verdict === 'failed').length).toBeGreaterThanOrEqual(499);
    expect(ends.filter(({ requests }) => requests > 500).length).toBeLessThanOrEqual(1);
  });

  test('a canary with 10 % errors is taken back within 500 of its requests', () => {
    const ends = courses(0.02, 0.1);
    expect(ends.filter(({ verdict, requests }) => verdict === 'failed' && requests <= 500).length).toBe(500);
  });

  test('a canary as good as stable is taken back in fewer than 1 %, and mostly successful on its minimum of requests', () => {
    const ends = courses(0.03, 0.002);
    expect(ends.filter(({ verdict }) => verdict === 'failed').length).toBeLessThan(5);
    expect(ends.filter(({ verdict, requests }) => verdict === 'successful' && requests === 200).length).toBeGreaterThan(
      400,
    );
  });
});
