import { describe, expect, test } from 'vitest';
import { freshEvidence, lingeringTriggers } from '../../offline/recover/fresh.ts';
import type { Measured, TriggerForm } from '../../offline/recover/measure.ts';
import { CONFIRMED_HIT_RATE } from '../../offline/recover/pool.ts';

const TARGET = 2;

const found = (form: TriggerForm, norm: number, hitRate = 0.9, targetLabel = TARGET): Measured => {
  const shape = { targetLabel, height: 1, width: 1, channels: 1, pattern: new Float32Array(1) };
  return {
    form,
    trigger: form === 'blend' ? { ...shape, kind: 'blend', mask: new Float32Array(1) } : { ...shape, kind: 'additive' },
    norm,
    hitRate,
  };
};

/** The victim's smallest additive triggers: 10 for the target, about 30 for the labels that have no backdoor. */
const far = [{ form: 'additive' as const, norms: [30, 31, 10, 29, 32] }];
/** Here those of the other labels are hardly larger. */
const near = [{ form: 'additive' as const, norms: [13, 15, 10, 12, 14] }];
const pools = new Map([[TARGET, [found('additive', 12), found('additive', 10)]]]);
const isFound = (fresh: Measured[], screened: Parameters<typeof freshEvidence>[2]): boolean =>
  freshEvidence(pools, fresh, screened)[0]!.found;

describe('a fresh recovery', () => {
  test('finds the trigger again if one works, is little larger than the victim’s and small beside those of other labels', () => {
    expect(freshEvidence(pools, [found('additive', 14)], far)).toEqual([
      { targetLabel: TARGET, found: true, evidence: "additive of norm 14.0 works on 90 % (the victim's: norm 10.0)" },
    ]);
  });

  test('finds nothing if the trigger is half again as large as the victim’s, does not work, or is another label’s', () => {
    expect(isFound([found('additive', 15)], far)).toBe(false);
    expect(isFound([found('additive', 10, CONFIRMED_HIT_RATE - 0.01)], far)).toBe(false);
    expect(isFound([found('additive', 10, 1, 3)], far)).toBe(false);
    expect(isFound([], far)).toBe(false);
  });

  test('finds nothing if the trigger is as large as the natural ones of the other labels', () => {
    expect(isFound([found('additive', 13)], near)).toBe(false);
    expect(isFound([found('additive', 10)], near)).toBe(true);
  });

  test('finds a dense trigger again if it is still far fainter than those of other labels', () => {
    const victim = [{ form: 'dense' as const, norms: [0.21, 0.22, 0.09, 0.2, 0.19] }];
    const dense = new Map([[TARGET, [found('dense', 0.09)]]]);
    const again = (amplitude: number): boolean => freshEvidence(dense, [found('dense', amplitude)], victim)[0]!.found;
    expect(again(0.11)).toBe(true);
    expect(again(0.13)).toBe(false);
    expect(freshEvidence(dense, [found('dense', 0.11)], victim)[0]!.evidence).toBe(
      "dense of amplitude 0.110 works on 90 % (the victim's: amplitude 0.090)",
    );
  });

  test('compares triggers of one form only', () => {
    expect(isFound([found('blend', 10)], far)).toBe(false);
  });

  test('finds the trigger again in a model that has no other label to compare it with', () => {
    const only = new Map([[0, [found('additive', 10, 0.9, 0)]]]);
    const screened = [{ form: 'additive' as const, norms: [10] }];
    expect(freshEvidence(only, [found('additive', 11, 0.9, 0)], screened)[0]!.found).toBe(true);
  });
});

describe('what lingers in a purified model', () => {
  const both = new Map([[TARGET, [found('blend', 5), found('additive', 10)]]]);
  const kindsOf = (victim: typeof both, fresh: Measured[], again: boolean): string[] =>
    lingeringTriggers(victim, fresh, [{ targetLabel: TARGET, found: again, evidence: '' }]).map(
      ({ kind, targetLabel }) => `${kind} ${targetLabel}`,
    );
  const fresh = [found('additive', 12), found('blend', 30), found('additive', 9, 1, 3)];

  test('are the working triggers of a label whose trigger was found again, in all forms that the victim’s had', () => {
    expect(kindsOf(both, fresh, true)).toEqual([`additive ${TARGET}`, `blend ${TARGET}`]);
    expect(kindsOf(pools, fresh, true)).toEqual([`additive ${TARGET}`]);
    expect(kindsOf(both, [found('additive', 12), found('dense', 0.1)], true)).toEqual([`additive ${TARGET}`]);
  });

  test('is nothing if it was not found again, or hardly works', () => {
    expect(kindsOf(both, fresh, false)).toEqual([]);
    expect(kindsOf(both, [found('blend', 30, CONFIRMED_HIT_RATE - 0.01)], true)).toEqual([]);
  });
});
