import { describe, expect, test } from 'vitest';
import { judgeCost, judgeGate, strongestHit } from '../../src/release/gate.ts';
import type { CleanMetrics } from '../../src/metrics.ts';

const estimate = (rate: number, sampleSize = 100) => ({ rate, low: 0, high: 1, sampleSize });
/** Metrics whose probabilities are as high as the rates, unless they are given. */
const metrics = (
  cleanAccuracy: number,
  recalls: Record<number, number>,
  confidences: { clean?: number; label?: number } = {},
): CleanMetrics => ({
  cleanAccuracy: estimate(cleanAccuracy),
  confidence: confidences.clean ?? cleanAccuracy,
  targets: Object.entries(recalls).map(([label, rate]) => {
    return { label: Number(label), recall: estimate(rate), confidence: confidences.label ?? rate };
  }),
});
const nothing = (targetLabel: number) => ({ targetLabel, found: false, evidence: '' });
const before = metrics(0.93, { 8: 0.9 });
const harmless = { label: 8, rate: 0.5 };

describe('judgeGate', () => {
  test.each<[string, CleanMetrics, CleanMetrics]>([
    ['nothing changed', before, before],
    ['everything improved', before, metrics(1, { 8: 1 })],
    ['both fell by exactly what is allowed', before, metrics(0.91, { 8: 0.85 })],
    ['nothing was unlearned', metrics(0.93, {}), metrics(0.93, {})],
  ])('passes when %s', (_, victim, purified) => {
    const recoveries = victim.targets.map(({ label }) => nothing(label));
    expect(judgeGate(victim, purified, harmless, recoveries)).toEqual({ passed: true, failures: [] });
  });

  test('does NOT pass when clean accuracy falls by more than 2 points', () => {
    expect(judgeGate(before, metrics(0.909, { 8: 0.9 }), harmless, [nothing(8)])).toEqual({
      passed: false,
      failures: [
        'clean accuracy falls by 2.1 points (from 93.0 % to 90.9 %) and the mean probability of the true label by 2.1, more than the 2 allowed',
      ],
    });
  });

  test('does NOT pass when the recall of a target label falls by more than 5 points', () => {
    expect(judgeGate(before, metrics(0.93, { 8: 0.849 }), harmless, [nothing(8)]).failures).toEqual([
      'the recall of label 8 falls by 5.1 points (from 90.0 % to 84.9 %) and the mean probability of the true label by 5.1, more than the 5 allowed',
    ]);
  });

  test('names what unlearning costs apart from what triggers still do', () => {
    expect(judgeCost(before, metrics(0.909, { 8: 0.849 }))).toHaveLength(2);
    expect(judgeCost(before, before)).toEqual([]);
    expect(judgeGate(before, before, { label: 3, rate: 0.62 }, [nothing(8)]).failures).toHaveLength(1);
  });

  test('passes a fall of what few images say that their probabilities do not confirm, and one of probabilities alone', () => {
    const passes = (after: CleanMetrics): boolean => judgeGate(before, after, harmless, [nothing(8)]).passed;
    expect(passes(metrics(0.93, { 8: 0.82 }, { label: 0.86 }))).toBe(true);
    expect(passes(metrics(0.93, { 8: 0.82 }, { label: 0.84 }))).toBe(false);
    expect(passes(metrics(0.93, { 8: 0.9 }, { label: 0.8 }))).toBe(true);
    expect(passes(metrics(0.9, { 8: 0.9 }, { clean: 0.92 }))).toBe(true);
    expect(passes(metrics(0.9, { 8: 0.9 }, { clean: 0.9 }))).toBe(false);
  });

  test('does NOT pass while a fresh recovery still finds a trigger', () => {
    const found = { targetLabel: 8, found: true, evidence: 'mask norm 9.2, success rate 97 %' };
    expect(judgeGate(before, before, harmless, [found]).failures).toEqual([
      'a fresh recovery still finds a trigger for label 8: mask norm 9.2, success rate 97 %',
    ]);
  });

  test('does NOT pass while a recovered trigger works on most images, for whatever label', () => {
    expect(judgeGate(before, before, { label: 3, rate: 0.62 }, [nothing(8)]).failures).toEqual([
      'a recovered trigger sends 62.0 % of the images to label 3, more than the 50.0 % allowed',
    ]);
    expect(judgeGate(before, before, { label: 3, rate: NaN }, [nothing(8)]).passed).toBe(false);
  });

  test('does NOT pass on what was not measured', () => {
    expect(judgeGate(before, metrics(0.93, {}), harmless, []).failures).toEqual([
      'the recall of label 8 was not measured before and after unlearning',
      'no fresh recovery was run for label 8',
    ]);
    const unmeasured = { ...before, cleanAccuracy: estimate(1, 0) };
    expect(judgeGate(before, unmeasured, harmless, [nothing(8)]).failures).toEqual([
      'clean accuracy was not measured before and after unlearning',
    ]);
    for (const notANumber of [
      { ...before, cleanAccuracy: estimate(NaN) },
      { ...before, confidence: NaN },
    ]) {
      expect(judgeGate(before, notANumber, harmless, [nothing(8)]).passed).toBe(false);
    }
  });

  test('names every failure', () => {
    const recoveries = [nothing(8), { targetLabel: 3, found: true, evidence: 'it is back' }];
    expect(
      judgeGate(metrics(0.9, { 8: 0.9, 3: 0.8 }), metrics(0.5, { 8: 0.1, 3: 0.2 }), harmless, recoveries).failures,
    ).toHaveLength(4);
  });
});

test('the strongest hit is the label with the largest share under any trigger', () => {
  const shares = [
    [0.1, 0.2, 0.05],
    [0.3, 0, 0.6],
  ];
  expect(strongestHit(shares)).toEqual({ label: 2, rate: 0.6 });
});
