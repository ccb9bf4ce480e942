import { beforeAll, describe, expect, test } from 'vitest';
import { DEFENSES, type DefenseInput } from '../../offline/baseline/defense.ts';
import { selectImages } from '../../offline/data/dataset.ts';
import { openEngine } from '../../offline/engine/engine.ts';
import { evaluate, type Evaluation } from '../../offline/evaluate.ts';
import type { Model } from '../../offline/model.ts';
import { confirmed } from '../../offline/recover/pool.ts';
import { measureTriggers } from '../../offline/recover/measure.ts';
import { searchLabels, splitClean } from '../../offline/recover/screening.ts';
import { chooseCut, cutsToTry } from '../../offline/unlearn/cut.ts';
import { stampPixels } from '../../src/trigger/trigger.ts';
import { plantBackdoor, type Planted } from '../support/planted.ts';
import { asCandidates } from '../support/candidates.ts';

const SEED = 1;
/** Few, since defences pass over them a hundred times. */
const CLEAN = Int32Array.from({ length: 120 }, (_, index) => index);
const silent = (): void => {};

let planted: Planted;
let input: DefenseInput;

beforeAll(async () => {
  const opened = await openEngine('wasm');
  if (!opened.ok) throw new Error(opened.error);
  const engine = opened.value;
  planted = await plantBackdoor(SEED);
  const { model, trueTrigger } = planted;
  const split = splitClean(selectImages(planted.clean, CLEAN), SEED);
  const recovery = { ...model, split, seed: SEED, engine };
  const found = confirmed(await searchLabels(recovery, [trueTrigger.targetLabel], [], silent));
  const pools = [found.map(({ trigger }) => trigger)];
  input = {
    model,
    split,
    seed: SEED,
    engine,
    report: silent,
    pools,
    forgotten: () => {
      const alone = { grown: [], faded: [], lingering: [], extent: 'one place' as const };
      return chooseCut({ ...recovery, ...alone, pools, cuts: cutsToTry(model.network, alone.extent) }, silent);
    },
  };
}, 120_000);

const run = (name: string): Promise<Model> => DEFENSES.find((defense) => defense.name === name)!.run(input);

const evaluated = ({ network, weights }: Model): Promise<Evaluation> => {
  const { fresh, trueTrigger } = planted;
  const images = { ...fresh, images: stampPixels(fresh.images, trueTrigger) };
  return evaluate({ network, weights }, fresh, { images, targetLabel: trueTrigger.targetLabel });
};

/** How often the recovered triggers still work on held-back images, on the mean. */
async function obedience(model: Model): Promise<number> {
  const candidates = asCandidates(input.pools.flat());
  const measured = await measureTriggers({ ...model, engine: input.engine }, input.split.heldBack, candidates);
  return measured.reduce((sum, { hitRate }) => sum + hitRate, 0) / measured.length;
}

describe('the defences of a planted victim', () => {
  test('start from one that obeys the recovered triggers, a mask among them', async () => {
    expect(input.pools[0]!.map(({ kind }) => kind)).toContain('blend');
    expect(await obedience(planted.model)).toBeGreaterThan(0.75);
  });

  test('without any the model is the very same', async () => {
    expect(await run('none')).toBe(planted.model);
  });

  // The published radius of FT-SAM is made for many images and a large network.
  const withoutTriggers = [
    { name: 'fine-tuning', loss: 0.06 },
    { name: 'fine-pruning', loss: 0.06 },
    { name: 'attention-distillation', loss: 0.06 },
    { name: 'ft-sam', loss: 0.3 },
  ];
  test.each(withoutTriggers)(
    '$name changes the weights and loses at most $loss of the accuracy',
    async ({ name, loss }) => {
      const defended = await run(name);
      expect((await evaluated(defended)).cleanAccuracy).toBeGreaterThan(planted.cleanAccuracy - loss);
      expect([...defended.weights.keys()]).toEqual([...planted.model.weights.keys()]);
      expect(defended.weights).not.toEqual(planted.model.weights);
    },
  );

  test.each(['neural-cleanse', 'relabel', 'baeraser', 'ours'])(
    '%s keeps the accuracy, and the recovered triggers no longer work',
    async (name) => {
      const defended = await run(name);
      const { cleanAccuracy, attackSuccessRate } = await evaluated(defended);
      expect(cleanAccuracy).toBeGreaterThan(planted.cleanAccuracy - 0.06);
      expect(await obedience(defended)).toBeLessThan(0.15);
      expect(attackSuccessRate).toBeLessThan(0.5);
    },
  );

  test('plain gradient ascent forgets the triggers and everything else, for nothing holds it back', async () => {
    const defended = await run('gradient-ascent');
    expect(await obedience(defended)).toBeLessThan(0.15);
    expect((await evaluated(defended)).cleanAccuracy).toBeLessThan(planted.cleanAccuracy - 0.2);
  });
});
