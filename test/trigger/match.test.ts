import '@tensorflow/tfjs-backend-cpu';
import { concat, setBackend, tensor } from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { randomSource } from '../../offline/engine/random.ts';
import { cutCandidates, headWeightShapes } from '../../src/network/cuts.ts';
import { forward, toDevice } from '../../src/network/forward.ts';
import { IMAGES } from '../../src/network/network.ts';
import { featureCount } from '../../src/release/guard.ts';
import type { Fingerprint } from '../../src/trigger/fingerprint.ts';
import { expectClose, randomImages, randomNetwork, randomWeights } from '../network/networks.ts';
import { guardFeatures, judge, poolActivations, probeLogits, pValue } from '../../src/trigger/match.ts';

beforeAll(() => setBackend('cpu'));

// Few distinct values, so that ties are common.
const score = fc.integer({ min: -4, max: 4 }).map((value) => value / 2);
const calibrations = fc
  .array(score, { minLength: 1, maxLength: 40 })
  .map((values) => Float32Array.from(values).toSorted());

const fingerprint = (threshold: number, count: number): Fingerprint => ({
  schemaVersion: 1,
  falsePositiveRate: 0.1,
  threshold,
  falsePositiveBound: { upper: 0.2, confidence: 0.95, sampleSize: 10 },
  triggers: Array.from({ length: count }, (_, index) => {
    return { id: `trigger-${index}`, kind: 'blend', targetLabel: index + 3, victimHitRate: 1, purifiedHitRate: 0 };
  }),
});

test('a guard judges what the victim shows where the trunk ends and, if weights lie between, at its last cut', () => {
  const network = randomNetwork(11, 14);
  const weights = toDevice(randomWeights(network, 11));
  const images = randomImages(network, 2, 12);
  const feeds = new Map([[IMAGES, tensor(images.data, images.shape)]]);
  const watched = cutCandidates(network).map((cut) => {
    const head = headWeightShapes(network, cut);
    const victimHead = new Map([...weights].filter(([name]) => head.has(name)));
    const [activations, last] = forward(network, weights, feeds, [cut, 'flat']);
    const isLast = head.size === headWeightShapes(network, 'flat').size;
    const expected = concat([activations!, ...(isLast ? [] : [last!])].map(poolActivations), 1);
    const features = guardFeatures(network, victimHead, cut, activations!);
    expect(features.shape).toEqual(expected.shape);
    expect(featureCount(network, cut)).toEqual({ ok: true, value: features.shape[1] });
    expectClose(features.dataSync(), expected.dataSync(), 1e-6);
    return isLast;
  });
  expect(new Set(watched)).toEqual(new Set([true, false]));
});

describe('the p-value', () => {
  test('is the share of calibration scores and the input itself that score at least as high, ties included', () => {
    fc.assert(
      fc.property(calibrations, score, (calibration, value) => {
        const atLeast = [...calibration].filter((other) => other >= value).length;
        expect(pValue(value, calibration)).toBe((1 + atLeast) / (calibration.length + 1));
      }),
      { numRuns: 500 },
    );
  });

  test('is 1 below every calibration score and 1 / (N + 1) above', () => {
    const calibration = Float32Array.of(1, 2, 3, 4);
    expect([pValue(1, calibration), pValue(4, calibration), pValue(4.5, calibration)]).toEqual([1, 0.4, 0.2]);
    expect(pValue(0, new Float32Array())).toBe(1);
  });

  test.each([NaN, Infinity, -Infinity])('does NOT exist for a score of %s', (value) => {
    expect(() => pValue(value, Float32Array.of(1))).toThrow('guard: the score is');
  });

  test('of a clean input is at most a rate no more often than that rate', () => {
    const random = randomSource(5, 'test/exchangeable');
    const [trials, size, rate] = [4000, 99, 0.05];
    let rejected = 0;
    for (let trial = 0; trial < trials; trial++) {
      const calibration = random.normal(size).toSorted();
      if (pValue(random.normal(1)[0]!, calibration) <= rate) rejected += 1;
    }
    // Exact here: (N + 1) * rate is whole, so the chance is the rate itself; four standard deviations either side.
    const slack = 4 * Math.sqrt((rate * (1 - rate)) / trials);
    expect(Math.abs(rejected / trials - rate)).toBeLessThan(slack);
  });
});

describe('the verdict', () => {
  test('is suspect exactly when a score is above the threshold, and lists those triggers, the highest score first', () => {
    fc.assert(
      fc.property(
        calibrations,
        score,
        fc.array(score, { minLength: 1, maxLength: 5 }),
        (calibration, threshold, logits) => {
          const given = fingerprint(threshold, logits.length);
          const verdict = judge(logits, given, calibration);
          const above = logits.flatMap((logit, index) => (logit > threshold ? [index] : []));
          expect(verdict.verdict).toBe(above.length ? 'suspect' : 'clean');
          expect(verdict.threshold).toBe(threshold);
          expect(verdict.pValue).toBe(pValue(Math.max(...logits), calibration));
          expect(verdict.matches.map(({ triggerId }) => triggerId).toSorted()).toEqual(
            above.map((index) => `trigger-${index}`).toSorted(),
          );
          const scores = verdict.matches.map(({ score }) => score);
          expect(scores).toEqual(scores.toSorted((a, b) => b - a));
          for (const match of verdict.matches) {
            const index = given.triggers.findIndex(({ id }) => id === match.triggerId);
            expect(match).toEqual({
              triggerId: `trigger-${index}`,
              targetLabel: index + 3,
              score: logits[index],
              pValue: pValue(logits[index]!, calibration),
            });
          }
        },
      ),
    );
  });

  test('is clean with p-value 1 when there is nothing to look for', () => {
    const verdict = judge([], fingerprint(0, 0), Float32Array.of(1, 2));
    expect(verdict).toEqual({ verdict: 'clean', pValue: 1, threshold: 0, matches: [] });
  });

  test.each([NaN, Infinity])('does NOT come from a logit of %s, be it the only bad one', (bad) => {
    expect(() => judge([0, bad], fingerprint(9, 2), Float32Array.of(1))).toThrow(/guard: the score is/);
    expect(() => judge([bad, 0], fingerprint(9, 2), Float32Array.of(1))).toThrow(/guard: the score is/);
  });

  test('does NOT come from more or fewer logits than triggers', () => {
    expect(() => judge([0], fingerprint(9, 2), Float32Array.of(1))).toThrow('guard: 1 logits for 2 triggers');
  });
});

describe('probing', () => {
  test('pools activations to the mean and the maximum of every channel over the positions', () => {
    const activations = tensor([1, -1, 2, -2, 3, -3, 6, -6, 0, 0, 0, 0, 0, 0, 8, 4], [2, 2, 2, 2]);
    expect(poolActivations(activations).arraySync()).toEqual([
      [3, -3, 6, -1],
      [2, 1, 8, 4],
    ]);
  });

  test('gives a linear score for every trigger', () => {
    const features = tensor([1, 2, 3, 4], [2, 2]);
    const pooled = poolActivations(features);
    expect(pooled.arraySync()).toEqual([
      [1, 2],
      [3, 4],
    ]);
    const logits = probeLogits(pooled, tensor([1, 0, -1, 10, 100, 1000], [2, 3]), tensor([0.5, 0, 1]));
    expect(logits.arraySync()).toEqual([
      [1 + 20 + 0.5, 200, -1 + 2000 + 1],
      [3 + 40 + 0.5, 400, -3 + 4000 + 1],
    ]);
  });
});
