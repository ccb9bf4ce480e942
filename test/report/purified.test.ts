import { expect, test } from 'vitest';
import { CONFIRMED_HIT_RATE } from '../../offline/recover/pool.ts';
import { smallestRows, smallestTriggers } from '../../offline/report/purified.ts';
import type { LabelScreening } from '../../offline/scan.ts';

const screening = (kind: 'blend' | 'additive', norms: number[], hitRates: number[]): LabelScreening => {
  return { form: kind, norms, hitRates, anomalyIndices: norms.map(() => 0) };
};
const names = ['cat', 'dog', 'bird'];
const before = [screening('blend', [5, 2, 9], [1, 1, 1]), screening('additive', [7, 8, 1], [1, 1, 0])];
const after = [screening('blend', [5, 6, 9], [1, 1, 1]), screening('additive', [7, 8, 1], [0, 0, 0])];

test('the smallest trigger of a form is that of the label it works for with the least change', () => {
  expect(smallestTriggers(before)).toEqual([
    { form: 'blend', label: 1, norm: 2 },
    { form: 'additive', label: 0, norm: 7 },
  ]);
});

test('a trigger that does not work is none, however small', () => {
  const almost = screening('blend', [1, 2, 3], [CONFIRMED_HIT_RATE - 0.01, CONFIRMED_HIT_RATE, 1]);
  expect(smallestTriggers([almost])).toEqual([{ form: 'blend', label: 1, norm: 2 }]);
});

test('before and after stand side by side, form by form', () => {
  expect(smallestRows(before, after, names)).toEqual([
    ['smallest blend trigger', 'norm 2.0, 1 (dog)', 'norm 5.0, 0 (cat)'],
    ['smallest additive trigger', 'norm 7.0, 0 (cat)', 'none found'],
  ]);
});
