import { beforeAll, expect, test } from 'vitest';
import { makeVictim } from '../../offline/attack/make-victim.ts';
import { openEngine, type Engine } from '../../offline/engine/engine.ts';
import { relativesOf, type Relatives } from '../../offline/recover/grow.ts';
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
const relate = async (norms: number[], advantage: number | null = null): Promise<Relatives> => {
  const pool = await measureTriggers(recovery, recovery.split.heldBack, asCandidates([trigger]));
  const pools = new Map([[trigger.targetLabel, pool]]);
  return relativesOf(recovery, pools, scanned([screening(norms)], advantage, [evenTrigger(0.1)]), () => {});
};
/** An addition that is the same all over the image. */
const evenTrigger = (amplitude: number): Trigger => {
  const { targetLabel, height, width, channels } = trigger;
  const pattern = new Float32Array(height * width * channels).fill(amplitude);
  return { kind: 'additive', targetLabel, height, width, channels, pattern };
};
const amplitudesOf = (triggers: readonly Trigger[]): string[] =>
  triggers.flatMap((item) => (item.kind === 'additive' ? Math.max(...item.pattern).toFixed(3) : []));
const sizesOf = (triggers: readonly Trigger[]): number[] =>
  triggers.flatMap((item) => (item.kind === 'blend' ? triggerNorm(item) / triggerNorm(trigger) : []));

test('a trigger far smaller than natural ones grows by steps up to a little beyond them, for the same label and still working', async () => {
  const norm = triggerNorm(trigger);
  // The label's own norm does not count.
  const { grown } = await relate([3.4 * norm, 0.1 * norm, 3.4 * norm, 3.4 * norm]);
  const factors = sizesOf(grown);
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
  expect((await relate([3 * norm, 0.1 * norm, 3 * norm, 3 * norm])).grown).toEqual([]);
});

test('a trigger hardly smaller than natural ones grows if its label was told by its advantage, up to the norm where it was compared, and is covered densely', async () => {
  const norm = triggerNorm(trigger);
  const natural = [1.3 * norm, norm, 1.3 * norm, 1.3 * norm];
  const { grown, extent } = await relate(natural, 3);
  expect(extent).toBe('whole image');
  expect(sizesOf(grown).map(Math.round)).toEqual([2, 3]);
  expect(amplitudesOf(grown)).toEqual(['0.100', '0.125', '0.150', '0.175', '0.200']);
  expect((await relate(natural)).grown).toEqual([]);
});

test('a patch of a label that was told by its advantage grows a little beyond natural triggers and is not covered', async () => {
  const norm = triggerNorm(trigger);
  const natural = [3 * norm, norm, 3 * norm, 3 * norm];
  const { grown } = await relate(natural, 3);
  expect(sizesOf(grown).map(Math.round)).toEqual([2, 3]);
  expect(amplitudesOf(grown)).toEqual([]);
  expect(await relate(natural)).toMatchObject({ grown: [], extent: 'one place' });
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
  const { pool, grown, extent } = await relatives(anywhere);
  expect(pool[0]!.hitRate).toBeGreaterThan(0.8);
  expect(extent).toBe('anywhere');
  expect(grown).toHaveLength(128);
  const rates = (await measureTriggers(anywhere, anywhere.split.heldBack, asCandidates(grown))).map(
    (item) => item.hitRate,
  );
  expect(rates.reduce((sum, rate) => sum + rate, 0) / rates.length).toBeGreaterThan(0.8);
  expect(await relatives(recovery)).toMatchObject({ grown: [], extent: 'one place' });
  // A piece of what covers the image works anywhere as well, but there the dense trigger is faint.
  const told = (usual: number): Promise<Relatives> => {
    const dense = { ...screening([usual, 0.1, usual, usual]), form: 'dense' as const };
    const small = screening([3 * norm, norm, 3 * norm, 3 * norm]);
    const pools = new Map([[trigger.targetLabel, pool]]);
    return relativesOf(anywhere, pools, scanned([small, dense], 3, [evenTrigger(0.1)]), () => {});
  };
  expect((await told(0.16)).extent).toBe('anywhere');
  const piece = await told(0.17);
  expect(piece.extent).toBe('whole image');
  expect(amplitudesOf(piece.grown)).toEqual(['0.100', '0.125', '0.150', '0.175', '0.200']);
  expect(piece.grown.length).toBeLessThan(128);
}, 120_000);

test('a dense trigger is taken at other amplitudes too, none far beyond what other labels need, and nothing else of its label grows', async () => {
  const { targetLabel } = trigger;
  const dense: Measured = { form: 'dense', trigger: evenTrigger(0.1), norm: 0.1, hitRate: 1 };
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
  expect(sizesOf(told.grown).length).toBeGreaterThan(0);
  expect(amplitudesOf(told.grown)).toEqual(['0.150', '0.225']);
  // A label that nothing but dense triggers reach has no patch.
  const alone = new Map([[targetLabel, [dense]]]);
  const covered = await relativesOf(recovery, alone, scanned([far, amplitudes], 3, [dense.trigger]), () => {});
  expect(amplitudesOf(covered.grown)).toEqual(['0.100', '0.125', '0.150', '0.175', '0.200', '0.150', '0.225']);
});
