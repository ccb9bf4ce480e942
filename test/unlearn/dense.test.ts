import { beforeAll, describe, expect, test } from 'vitest';
import { openEngine, type Engine } from '../../offline/engine/engine.ts';
import { evaluate, type Evaluation } from '../../offline/evaluate.ts';
import type { Model } from '../../offline/model.ts';
import { faintLabels, labelFaintness } from '../../offline/recover/faint.ts';
import { relativesOf } from '../../offline/recover/grow.ts';
import type { Measured } from '../../offline/recover/measure.ts';
import { confirmed } from '../../offline/recover/pool.ts';
import { screenAll, searchLabels, splitClean, type Recovery } from '../../offline/recover/screening.ts';
import { summarize, type LabelScreening } from '../../offline/scan.ts';
import { job as unlearnLate } from '../../offline/unlearn/late.ts';
import { stampPixels } from '../../src/trigger/trigger.ts';
import { DENSE, plantBackdoor, type Planted } from '../support/planted.ts';

const silent = (): void => {};

let engine: Engine;
beforeAll(async () => {
  const opened = await openEngine('wasm');
  if (!opened.ok) throw new Error(opened.error);
  engine = opened.value;
});

describe.each([1, 2, 3])('a planted dense trigger (seed %i)', (seed) => {
  let planted: Planted;
  let recovery: Recovery;
  let screenings: LabelScreening[];
  let target: number;

  const evaluated = (model: Model): Promise<Evaluation> => {
    const { fresh, trueTrigger } = planted;
    const images = { ...fresh, images: stampPixels(fresh.images, trueTrigger) };
    return evaluate(model, fresh, { images, targetLabel: target });
  };

  beforeAll(async () => {
    planted = await plantBackdoor(seed, DENSE);
    target = planted.trueTrigger.targetLabel;
    recovery = { ...planted.model, split: splitClean(planted.clean, seed), seed, engine };
    screenings = (await screenAll(recovery, silent)).map(summarize);
  }, 240_000);

  test('makes its label the only faint one', () => {
    expect(planted.attackSuccessRate).toBeGreaterThan(0.9);
    expect(faintLabels(screenings)).toEqual([target]);
    for (const label of [0, 1, 2, 3]) {
      if (label !== target) expect(labelFaintness(screenings, label)).toBeLessThan(1.65);
    }
  });

  test('is forgotten by a head that unlearns recovered dense triggers, stronger and fainter ones among them', async () => {
    const found: Measured[] = confirmed(await searchLabels(recovery, [], [target], silent));
    expect(found.length).toBeGreaterThan(1);
    const pools = new Map([[target, found]]);
    const finding = { targetLabel: target, grade: 'backdoor' as const, advantage: null };
    const scanned = { findings: [finding], screenings, dense: [] };
    const { grown, faded } = await relativesOf(recovery, pools, scanned, silent);
    const triggers = [...found.map(({ trigger }) => trigger), ...grown, ...faded];
    const { split } = recovery;
    const job = { ...planted.model, cut: 'flat', images: split.learn, triggers, steps: 400, seed };
    const { weights } = await unlearnLate(job, silent);
    const { cleanAccuracy, attackSuccessRate } = await evaluated({ ...planted.model, weights });
    expect(attackSuccessRate!).toBeLessThan(0.08);
    expect(cleanAccuracy).toBeGreaterThan(planted.cleanAccuracy - 0.03);
  });
});
