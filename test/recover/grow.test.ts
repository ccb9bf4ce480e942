import { beforeAll, expect, test } from 'vitest';
import { openEngine, type Engine } from '../../offline/engine/engine.ts';
import { growTriggers } from '../../offline/recover/grow.ts';
import { measureTriggers } from '../../offline/recover/measure.ts';
import { splitClean, type Recovery } from '../../offline/recover/screening.ts';
import type { LabelScreening } from '../../offline/scan.ts';
import { triggerNorm, type Trigger } from '../../src/trigger/trigger.ts';
import { plantBackdoor } from '../support/planted.ts';

let recovery: Recovery;
let trigger: Trigger;
beforeAll(async () => {
  const opened = await openEngine('wasm');
  if (!opened.ok) throw new Error(opened.error);
  const engine: Engine = opened.value;
  const { model, trueTrigger, clean } = await plantBackdoor(1);
  recovery = { ...model, split: splitClean(clean, 1), seed: 1, engine };
  trigger = trueTrigger;
}, 120_000);

const screening = (norms: number[]): LabelScreening => ({
  kind: trigger.kind,
  norms,
  anomalyIndices: norms,
  hitRates: norms,
});
const grow = async (norms: number[]): Promise<Trigger[]> => {
  const pool = await measureTriggers(recovery, recovery.split.heldBack, [trigger]);
  return growTriggers(recovery, new Map([[trigger.targetLabel, pool]]), [screening(norms)], () => {});
};

test('a trigger far smaller than natural ones grows by steps up to a little beyond them, for the same label and still working', async () => {
  const norm = triggerNorm(trigger);
  // The label's own norm does not count.
  const grown = await grow([3.4 * norm, 0.1 * norm, 3.4 * norm, 3.4 * norm]);
  const factors = grown.map((item) => triggerNorm(item) / norm);
  expect(factors).toHaveLength(3);
  for (const [index, most] of [2, 3, 4].entries()) expect(factors[index]).toBeLessThan(1.15 * most);
  expect(Math.max(...factors)).toBeGreaterThan(1.3);
  for (const { hitRate } of await measureTriggers(recovery, recovery.split.heldBack, grown)) {
    expect(hitRate).toBeGreaterThan(0.9);
  }
  expect(new Set(grown.map(({ targetLabel }) => targetLabel))).toEqual(new Set([trigger.targetLabel]));
});

test('a trigger not far smaller than natural ones does not grow', async () => {
  const norm = triggerNorm(trigger);
  expect(await grow([3 * norm, 0.1 * norm, 3 * norm, 3 * norm])).toEqual([]);
});
