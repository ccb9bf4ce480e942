import { beforeAll, expect, test } from 'vitest';
import { openEngine, type Engine } from '../../offline/engine/engine.ts';
import { PLANTED_ADVANTAGE } from '../../offline/grade.ts';
import type { Model } from '../../offline/model.ts';
import { convictionIndex, labelAdvantages } from '../../offline/recover/advantage.ts';
import { screenAll, splitClean } from '../../offline/recover/screening.ts';
import type { Dataset } from '../../offline/data/dataset.ts';
import { plantBackdoor } from '../support/planted.ts';

let engine: Engine;
beforeAll(async () => {
  const opened = await openEngine('wasm');
  if (!opened.ok) throw new Error(opened.error);
  engine = opened.value;
});

async function advantagesIn(model: Model, clean: Dataset): Promise<Map<number, number>> {
  const recovery = { ...model, split: splitClean(clean, 1), seed: 1, engine };
  return labelAdvantages(recovery, await screenAll(recovery, () => {}), () => {});
}

test('a conviction is compared with the median of the others, in spreads of these', () => {
  const others = [1, 2, 4, 8, 16];
  // Logarithms: the median other lies at 2, in units of ln 2, and the others 1 from it at the median.
  expect(convictionIndex([...others, 32], 5)).toBeCloseTo(3 / 1.4826, 9);
  expect(convictionIndex([32, ...others], 0)).toBeCloseTo(3 / 1.4826, 9);
  expect(convictionIndex([...others, 2], 5)).toBeCloseTo(-1 / 1.4826, 9);
});

test('where the others do not reach their labels, a trigger that does stands far out, by a finite number', () => {
  expect(convictionIndex([1, -2, -3, -1], 0)).toBeCloseTo(Math.log(20) / 0.05, 6);
});

test.for([1, 2, 3])(
  'a planted label stands out by its advantage, and no other does, seed %i',
  { timeout: 120_000 },
  async (seed) => {
    const { model, clean, trueTrigger } = await plantBackdoor(seed);
    const advantages = await advantagesIn(model, clean);
    for (const [label, advantage] of advantages) {
      if (label === trueTrigger.targetLabel) expect(advantage).toBeGreaterThan(PLANTED_ADVANTAGE);
      else expect(advantage).toBeLessThan(PLANTED_ADVANTAGE);
    }
    expect(advantages.size).toBe(4);
  },
);
