import { beforeAll, describe, expect, test } from 'vitest';
import { openEngine, type Engine } from '../../offline/engine/engine.ts';
import { evaluate, type Evaluation } from '../../offline/evaluate.ts';
import type { Model } from '../../offline/model.ts';
import { FAINT, faintLabels, isFaintIn, labelFaintness } from '../../offline/recover/faint.ts';
import { relativesOf } from '../../offline/recover/grow.ts';
import { isCovering, type Measured } from '../../offline/recover/measure.ts';
import { confirmed } from '../../offline/recover/pool.ts';
import { screenAll, searchLabels, splitClean, type Recovery } from '../../offline/recover/screening.ts';
import { summarize, type LabelScreening } from '../../offline/scan.ts';
import { job as unlearnLate } from '../../offline/unlearn/late.ts';
import { stampPixels } from '../../src/trigger/trigger.ts';
import { DENSE, plantBackdoor, SMOOTH, type Planted } from '../support/planted.ts';

const silent = (): void => {};

let engine: Engine;
beforeAll(async () => {
  const opened = await openEngine('wasm');
  if (!opened.ok) throw new Error(opened.error);
  engine = opened.value;
});

const ATTACKS = [
  ['dense', DENSE, 0.03],
  // One head behind one cut, chosen by nobody: an addition so large hides some of the stripes.
  ['smooth', SMOOTH, 0.06],
] as const;
const CASES = ATTACKS.flatMap(([form, planting, loss]) =>
  [1, 2, 3].map((seed) => [form, seed, planting, loss] as const),
);

describe.each(CASES)('a planted %s trigger (seed %i)', (form, seed, planting, largestLoss) => {
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
    planted = await plantBackdoor(seed, planting);
    target = planted.trueTrigger.targetLabel;
    recovery = { ...planted.model, split: splitClean(planted.clean, seed), seed, engine };
    screenings = (await screenAll(recovery, silent)).map(summarize);
  }, 240_000);

  test('makes its label the only faint one', () => {
    expect(planted.attackSuccessRate).toBeGreaterThan(0.9);
    const faint = faintLabels(screenings);
    expect(isFaintIn(faint, form, target)).toBe(true);
    expect(new Set(faint.map(({ label }) => label))).toEqual(new Set([target]));
    for (const label of [0, 1, 2, 3]) {
      if (label !== target) expect(labelFaintness(screenings, label)[form]).toBeLessThan(FAINT[form]);
    }
  });

  test('is forgotten by a head that unlearns recovered triggers over the whole image, stronger and fainter ones among them', async () => {
    const searched = await searchLabels(recovery, [target], faintLabels(screenings), silent);
    const found: Measured[] = confirmed(searched.filter((item) => isCovering(item.form)));
    expect(found.length).toBeGreaterThan(1);
    const pools = new Map([[target, found]]);
    const finding = { targetLabel: target, grade: 'backdoor' as const, advantage: null };
    const scanned = { findings: [finding], screenings, dense: [] };
    const { grown, faded } = await relativesOf(recovery, pools, scanned, silent);
    const triggers = [...found.map(({ trigger }) => trigger), ...grown, ...faded];
    const { split } = recovery;
    const job = { ...planted.model, cut: 'flat', images: split.learn, triggers, steps: 400, relaxes: false, seed };
    const { weights } = await unlearnLate(job, silent);
    const { cleanAccuracy, attackSuccessRate } = await evaluated({ ...planted.model, weights });
    expect(attackSuccessRate!).toBeLessThan(0.08);
    expect(cleanAccuracy).toBeGreaterThan(planted.cleanAccuracy - largestLoss);
  });
});
