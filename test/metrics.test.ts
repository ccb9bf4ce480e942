import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  attackSuccessRate,
  auroc,
  cleanAccuracy,
  cleanMetrics,
  clopperPearsonUpper,
  estimateRate,
  highestHitRate,
  perLabelRecall,
  robustAccuracy,
} from '../src/metrics.ts';

const label = fc.integer({ min: 0, max: 3 });
const answers = fc.array(fc.tuple(label, label), { maxLength: 30 });
const unzip = (pairs: readonly [number, number][]): [number[], number[]] => [
  pairs.map(([answer]) => answer),
  pairs.map(([, truth]) => truth),
];

describe('estimateRate', () => {
  // Reference intervals: Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3.
  it.each([
    [81, 263, 0.2553, 0.3662],
    [15, 148, 0.0624, 0.1605],
    [0, 20, 0, 0.1611],
    [1, 29, 0.0061, 0.1718],
  ])('gives the published Wilson interval for %i of %i', (hits, total, low, high) => {
    const estimate = estimateRate(hits, total);
    expect(estimate.rate).toBe(hits / total);
    expect(estimate.sampleSize).toBe(total);
    expect(estimate.low).toBeCloseTo(low, 4);
    expect(estimate.high).toBeCloseTo(high, 4);
  });

  it('holds the rates whose score test does not reject: both bounds solve (p - rate)^2 = z^2 p (1 - p) / n', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1_000_000 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (total, share) => {
          const { rate, low, high } = estimateRate(Math.round(total * share), total);
          expect(0 <= low && low <= rate && rate <= high && high <= 1).toBe(true);
          for (const bound of [low, high]) {
            const variance = (1.959963984540054 ** 2 * bound * (1 - bound)) / total;
            expect((rate - bound) ** 2).toBeCloseTo(variance, 12);
          }
        },
      ),
    );
  });

  it('says nothing without images', () => {
    expect(estimateRate(0, 0)).toEqual({ rate: 0, low: 0, high: 1, sampleSize: 0 });
  });

  it.each([
    [2, 1],
    [-1, 3],
    [0.5, 3],
    [Number.NaN, 3],
  ])('throws for %d hits of %d', (hits, total) => {
    expect(() => estimateRate(hits, total)).toThrow('expected whole numbers');
  });
});

describe('clopperPearsonUpper', () => {
  it('has its closed forms: no hit 1 - (1-c)^(1/n), all but one c^(1/n), all 1', () => {
    for (const [total, confidence] of [
      [1, 0.5],
      [10, 0.95],
      [500, 0.95],
      [20_000, 0.99],
    ] as const) {
      expect(clopperPearsonUpper(0, total, confidence)).toBeCloseTo(1 - (1 - confidence) ** (1 / total), 12);
      expect(clopperPearsonUpper(total - 1, total, confidence)).toBeCloseTo(confidence ** (1 / total), 10);
      expect(clopperPearsonUpper(total, total, confidence)).toBe(1);
    }
  });

  it('makes so few hits as improbable as asked, by a direct sum of binomial terms', () => {
    const choose = (n: number, k: number): number => (k === 0 ? 1 : (choose(n - 1, k - 1) * n) / k);
    for (let total = 2; total <= 30; total += 7) {
      for (let hits = 0; hits < total; hits += 1) {
        const upper = clopperPearsonUpper(hits, total, 0.9);
        let cumulative = 0;
        for (let k = 0; k <= hits; k += 1) cumulative += choose(total, k) * upper ** k * (1 - upper) ** (total - k);
        expect(cumulative).toBeCloseTo(0.1, 10);
      }
    }
  });

  it('throws when the confidence is not between 0 and 1', () => {
    expect(() => clopperPearsonUpper(1, 2, 95)).toThrow('confidence');
  });
});

describe('rates over predictions', () => {
  it('count as the definitions say, image by image', () => {
    fc.assert(
      fc.property(answers, label, (pairs, target) => {
        const [predicted, labels] = unzip(pairs);
        const others = pairs.filter(([, truth]) => truth !== target);
        expect(cleanAccuracy(predicted, labels)).toEqual(
          estimateRate(pairs.filter(([answer, truth]) => answer === truth).length, pairs.length),
        );
        expect(attackSuccessRate(predicted, labels, target)).toEqual(
          estimateRate(others.filter(([answer]) => answer === target).length, others.length),
        );
        expect(robustAccuracy(predicted, labels, target)).toEqual(
          estimateRate(others.filter(([answer, truth]) => answer === truth).length, others.length),
        );
      }),
    );
  });

  it('do NOT count images of the target label as attack successes', () => {
    expect(attackSuccessRate([1, 1, 1, 0], [1, 1, 0, 0], 1)).toMatchObject({ rate: 0.5, sampleSize: 2 });
  });

  it('give each label its recall, and null where it has no image', () => {
    const recalls = perLabelRecall([0, 1, 2, 2], [0, 0, 2, 2], 4);
    expect(recalls.map((recall) => recall && [recall.rate, recall.sampleSize])).toEqual([[0.5, 2], null, [1, 2], null]);
  });

  it('throw when predictions and labels differ in number', () => {
    expect(() => cleanAccuracy([1], [1, 2])).toThrow('1 predictions for 2 labels');
  });
});

describe('highestHitRate', () => {
  it('is the largest attack success rate over all labels', () => {
    fc.assert(
      fc.property(answers, (pairs) => {
        const [predicted, labels] = unzip(pairs);
        const { label: found, rate } = highestHitRate(predicted, labels, 4);
        const all = [0, 1, 2, 3].map((target) => attackSuccessRate(predicted, labels, target));
        expect(rate).toEqual(all[found]);
        expect(rate.rate).toBe(Math.max(...all.map((estimate) => estimate.rate)));
      }),
    );
  });

  it('finds an attack that moved to another label', () => {
    expect(highestHitRate([3, 3, 3, 1], [0, 1, 2, 3], 4)).toMatchObject({ label: 3, rate: { rate: 1, sampleSize: 3 } });
  });
});

describe('cleanMetrics', () => {
  it('are the accuracy, the recalls of the targets and the mean probabilities of the true labels, over all images and over those of each target', () => {
    const given = { labels: [0, 1, 1, 2], confidences: [0.75, 0.5, 0.25, 0.5] };
    const truth = [0, 1, 2, 2];
    const { confidence, targets, ...rates } = cleanMetrics(given, truth, [2, 3]);
    expect(rates).toEqual({ cleanAccuracy: cleanAccuracy(given.labels, truth) });
    expect(confidence).toBe(0.5);
    expect(targets).toEqual([
      { label: 2, recall: estimateRate(1, 2), confidence: 0.375 },
      { label: 3, recall: estimateRate(0, 0), confidence: 0 },
    ]);
  });

  it('have the recalls of perLabelRecall', () => {
    fc.assert(
      fc.property(answers, (pairs) => {
        const [predicted, labels] = unzip(pairs);
        const { targets } = cleanMetrics(
          { labels: predicted, confidences: predicted.map(() => 1) },
          labels,
          [0, 1, 2, 3],
        );
        const recalls = targets.map(({ recall }) => (recall.sampleSize ? recall : null));
        expect(recalls).toEqual(perLabelRecall(predicted, labels, 4));
      }),
    );
  });
});

describe('auroc', () => {
  it('is the share of pairs in order, ties counting half', () => {
    const score = fc.oneof(fc.integer({ min: -3, max: 3 }), fc.constantFrom(-Infinity, Infinity));
    const scores = fc.array(score, { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(scores, scores, (positives, negatives) => {
        const wins = positives.flatMap((a) => negatives.map((b) => (a > b ? 1 : a === b ? 0.5 : 0)));
        const share = wins.reduce((total: number, win) => total + win, 0) / wins.length;
        expect(auroc(positives, negatives)).toBeCloseTo(share, 12);
      }),
    );
  });

  it('throws without scores on a side, or with a score that is not a number', () => {
    expect(() => auroc([], [1])).toThrow('auroc');
    expect(() => auroc([1], [Number.NaN])).toThrow('auroc');
  });
});
