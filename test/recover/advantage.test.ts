import { beforeAll, expect, test } from 'vitest';
import { openEngine, type Engine } from '../../offline/engine/engine.ts';
import { PLANTED_ADVANTAGE } from '../../offline/grade.ts';
import type { Model } from '../../offline/model.ts';
import { advantageOf, labelAdvantages } from '../../offline/recover/advantage.ts';
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
  const screenings = await screenAll(recovery, () => {});
  const small = screenings.filter(({ form }) => form !== 'dense');
  return labelAdvantages(recovery, small, () => {});
}

test('a conviction is compared with the median of the others', () => {
  expect(advantageOf([1, 2, 9, 3], 2)).toBeCloseTo(4.5, 9);
  expect(advantageOf([1, 2, 9, 3], 0)).toBeCloseTo(1 / 3, 9);
});

test('where the others do not reach their labels, a trigger that does has a large advantage, and a finite one', () => {
  expect(advantageOf([1, -2, -3, -1], 0)).toBeCloseTo(20, 9);
});

test.for([1, 2, 3])(
  'at one norm a planted trigger carries images farther than those of labels without one, seed %i',
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
