import { describe, expect, test } from 'vitest';
import { judgeGate } from '../../src/release/gate.ts';
import type { Manifest } from '../../src/release/manifest.ts';

type Metrics = Manifest['metrics']['victim'];

const estimate = (rate: number, sampleSize = 100) => ({ rate, low: 0, high: 1, sampleSize });
const metrics = (cleanAccuracy: number, recalls: Record<number, number>): Metrics => ({
  cleanAccuracy: estimate(cleanAccuracy),
  recoveredAttackSuccessRate: estimate(0),
  targetRecall: Object.entries(recalls).map(([label, rate]) => ({ label: Number(label), recall: estimate(rate) })),
});
const nothing = (targetLabel: number) => ({ targetLabel, found: false, evidence: '' });
const before = metrics(0.93, { 8: 0.9 });
const harmless = { label: 8, rate: 0.5 };

describe('judgeGate', () => {
  test.each<[string, Metrics, Metrics]>([
    ['nothing changed', before, before],
    ['everything improved', before, metrics(1, { 8: 1 })],
    ['both fell by exactly what is allowed', before, metrics(0.91, { 8: 0.85 })],
    ['nothing was unlearned', metrics(0.93, {}), metrics(0.93, {})],
  ])('passes when %s', (_, victim, purified) => {
    const recoveries = victim.targetRecall.map(({ label }) => nothing(label));
    expect(judgeGate(victim, purified, harmless, recoveries)).toEqual({ passed: true, failures: [] });
  });

  test('does NOT pass when clean accuracy falls by more than 2 points', () => {
    expect(judgeGate(before, metrics(0.909, { 8: 0.9 }), harmless, [nothing(8)])).toEqual({
      passed: false,
      failures: ['clean accuracy falls by 2.1 points (from 93.0 % to 90.9 %), more than the 2 allowed'],
    });
  });

  test('does NOT pass when the recall of a target label falls by more than 5 points', () => {
    expect(judgeGate(before, metrics(0.93, { 8: 0.849 }), harmless, [nothing(8)]).failures).toEqual([
      'the recall of label 8 falls by 5.1 points (from 90.0 % to 84.9 %), more than the 5 allowed',
    ]);
  });

  test.each([
    [15, 1, true],
    [10, 1, true],
    [15, 2, false],
    [9, 1, false],
    [30, 2, false],
    [72, 4, true],
    [72, 5, false],
    [68, 4, false],
  ])('of %i images of a target label %i lost passes: %s', (sampleSize, lost, passes) => {
    const recallOf = (rate: number): Metrics => ({
      ...before,
      targetRecall: [{ label: 8, recall: estimate(rate, sampleSize) }],
    });
    const gate = judgeGate(recallOf(1), recallOf((sampleSize - lost) / sampleSize), harmless, [nothing(8)]);
    expect(gate.passed).toBe(passes);
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
    const notANumber = { ...before, cleanAccuracy: estimate(NaN) };
    expect(judgeGate(before, notANumber, harmless, [nothing(8)]).passed).toBe(false);
  });

  test('names every failure', () => {
    const recoveries = [nothing(8), { targetLabel: 3, found: true, evidence: 'it is back' }];
    expect(
      judgeGate(metrics(0.9, { 8: 0.9, 3: 0.8 }), metrics(0.5, { 8: 0.1, 3: 0.2 }), harmless, recoveries).failures,
    ).toHaveLength(4);
  });
});
