import { beforeAll, expect, test } from 'vitest';
import { makeVictim } from '../../offline/attack/make-victim.ts';
import { openEngine, type Engine } from '../../offline/engine/engine.ts';
import { relativesOf } from '../../offline/recover/grow.ts';
import { measureTriggers, type Measured } from '../../offline/recover/measure.ts';
import { splitClean, type Recovery } from '../../offline/recover/screening.ts';
import type { LabelScreening } from '../../offline/scan.ts';
import { foldBatchNorm } from '../../src/network/fold.ts';
import { triggerNorm, type Trigger } from '../../src/trigger/trigger.ts';
import { plantBackdoor, stripes } from '../support/planted.ts';
import { asCandidates } from '../support/candidates.ts';

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
  form: trigger.kind,
  norms,
  anomalyIndices: norms,
  hitRates: norms,
});
const scanned = (screenings: LabelScreening[], advantage: number | null = null, dense: Trigger[] = []) => {
  return {
    findings: [{ targetLabel: trigger.targetLabel, grade: 'backdoor' as const, advantage }],
    screenings,
    dense,
  };
};
const grow = async (norms: number[], advantage: number | null = null): Promise<Trigger[]> => {
  const pool = await measureTriggers(recovery, recovery.split.heldBack, asCandidates([trigger]));
  const pools = new Map([[trigger.targetLabel, pool]]);
  const { grown, outgrown } = await relativesOf(recovery, pools, scanned([screening(norms)], advantage), () => {});
  expect(outgrown).toEqual(advantage === null ? [] : grown);
  return grown;
};

test('a trigger far smaller than natural ones grows by steps up to a little beyond them, for the same label and still working', async () => {
  const norm = triggerNorm(trigger);
  // The label's own norm does not count.
  const grown = await grow([3.4 * norm, 0.1 * norm, 3.4 * norm, 3.4 * norm]);
  const factors = grown.map((item) => triggerNorm(item) / norm);
  expect(factors).toHaveLength(3);
  for (const [index, most] of [2, 3, 4].entries()) expect(factors[index]).toBeLessThan(1.15 * most);
  expect(Math.max(...factors)).toBeGreaterThan(1.3);
  for (const { hitRate } of await measureTriggers(recovery, recovery.split.heldBack, asCandidates(grown))) {
    expect(hitRate).toBeGreaterThan(0.9);
  }
  expect(new Set(grown.map(({ targetLabel }) => targetLabel))).toEqual(new Set([trigger.targetLabel]));
});

test('a trigger not far smaller than natural ones does not grow', async () => {
  const norm = triggerNorm(trigger);
  expect(await grow([3 * norm, 0.1 * norm, 3 * norm, 3 * norm])).toEqual([]);
});

test('a trigger no smaller than natural ones grows if its label was told by its advantage, up to the norm where it was compared', async () => {
  const norm = triggerNorm(trigger);
  const natural = [1.3 * norm, norm, 1.3 * norm, 1.3 * norm];
  expect((await grow(natural, 3)).map((item) => Math.round(triggerNorm(item) / norm))).toEqual([2, 3]);
  expect(await grow(natural)).toEqual([]);
});

test('of a patch that was planted at random places there are copies at other places that work, of one at a fixed place none', async () => {
  const patch = { kind: 'badnets', patchSize: 3, place: 'random', poisonRate: 0.2, epochs: 15 } as const;
  const attack = { ...patch, targetLabel: trigger.targetLabel, seed: 1 };
  const images = stripes(800, 1, 'planted/train');
  const { model } = await makeVictim(attack, images, stripes(100, 1, 'planted/fresh'), () => {});
  const anywhere: Recovery = { ...recovery, ...foldBatchNorm(model.network, model.weights) };
  const norm = triggerNorm(trigger);
  const relatives = async (of: Recovery) => {
    const pool = await measureTriggers(of, of.split.heldBack, asCandidates([trigger]));
    const natural = screening([2 * norm, 2 * norm, 2 * norm, 2 * norm]);
    return { pool, ...(await relativesOf(of, new Map([[trigger.targetLabel, pool]]), scanned([natural]), () => {})) };
  };
  const { pool, grown, isPlaceless } = await relatives(anywhere);
  expect(pool[0]!.hitRate).toBeGreaterThan(0.8);
  expect(isPlaceless).toBe(true);
  expect(grown).toHaveLength(128);
  const rates = (await measureTriggers(anywhere, anywhere.split.heldBack, asCandidates(grown))).map(
    (item) => item.hitRate,
  );
  expect(rates.reduce((sum, rate) => sum + rate, 0) / rates.length).toBeGreaterThan(0.8);
  expect(await relatives(recovery)).toMatchObject({ grown: [], isPlaceless: false });
}, 120_000);

test('a dense trigger is taken at other amplitudes too, none far beyond what other labels need, and nothing else of its label grows', async () => {
  const { targetLabel, height, width, channels } = trigger;
  const pattern = new Float32Array(height * width * channels).fill(0.1);
  const dense: Measured = {
    form: 'dense',
    trigger: { kind: 'additive', targetLabel, height, width, channels, pattern },
    norm: 0.1,
    hitRate: 1,
  };
  const [small] = await measureTriggers(recovery, recovery.split.heldBack, asCandidates([trigger]));
  const far = { ...screening([1, 1, 1, 1].map((factor) => factor * 10 * triggerNorm(trigger))) };
  const amplitudes = { ...screening([0.4, 0.1, 0.4, 0.4]), form: 'dense' as const };
  const pools = new Map([[targetLabel, [dense, small!]]]);
  const { grown, faded } = await relativesOf(recovery, pools, scanned([far, amplitudes]), () => {});
  const found = grown.map(({ pattern }) => Math.max(...pattern));
  expect(found).toHaveLength(2);
  found.forEach((amplitude, index) => expect(amplitude).toBeCloseTo([0.15, 0.225][index]!, 5));
  const nearer = { ...amplitudes, norms: [0.2, 0.1, 0.2, 0.2] };
  expect((await relativesOf(recovery, pools, scanned([far, nearer]), () => {})).grown).toEqual([]);
  expect(faded.map((item) => [item.targetLabel, Math.max(...item.pattern).toFixed(3)])).toEqual([
    [targetLabel, '0.075'],
  ]);
  const told = await relativesOf(recovery, pools, scanned([far, amplitudes], 3, [dense.trigger]), () => {});
  expect(told.faded).toEqual([]);
  const amplitudesOf = (triggers: Trigger[]) => triggers.map((item) => Math.max(...item.pattern).toFixed(3));
  expect(told.outgrown.length).toBeGreaterThan(0);
  const covering = told.grown.filter((item) => !told.outgrown.includes(item));
  expect(amplitudesOf(covering)).toEqual(['0.100', '0.125', '0.150', '0.175', '0.200', '0.150', '0.225']);
});
