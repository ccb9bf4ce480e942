import { describe, expect, test } from 'vitest';
import { attackSchema, goalOf, type GivenAttack, type PlantedAttack } from '../../offline/attack/attack.ts';
import { applyPoison, choosePoisoned } from '../../offline/attack/poison.ts';
import { drawTriggers } from '../../offline/attack/triggers.ts';
import { stripes } from '../support/planted.ts';

const LABELS = 4;
const data = stripes(400, 2, 'test/poison');
const COMMON = { targetLabel: 1, poisonRate: 0.1, epochs: 1, seed: 6 };
type Targets = Extract<GivenAttack, { kind: 'badnets' }>['targets'];

const badnets = (targets: Targets, poisonRate = 0.1): PlantedAttack =>
  attackSchema.parse({ kind: 'badnets', patchSize: 3, targets, ...COMMON, poisonRate }) as PlantedAttack;
const chosenBy = (attack: PlantedAttack) => choosePoisoned(attack, data.labels, LABELS);
const indices = (chosen: readonly { index: number }[]): number[] => chosen.map(({ index }) => index);

describe('the images that an attack poisons', () => {
  test('are of other labels than the target and go to it', () => {
    const chosen = chosenBy(badnets({ form: 'one' }));
    expect(chosen).toHaveLength(40);
    expect(new Set(indices(chosen)).size).toBe(40);
    expect(chosen.every(({ index, label }) => data.labels[index] !== 1 && label === 1)).toBe(true);
  });

  test('are shared out evenly among several triggers, each with its own label', () => {
    const chosen = chosenBy(badnets({ form: 'several', furtherLabels: [3, 0] }));
    expect(chosen).toHaveLength(40);
    [1, 3, 0].forEach((label, trigger) => {
      const own = chosen.filter((image) => image.trigger === trigger);
      expect([13, 14]).toContain(own.length);
      expect(own.every((image) => image.label === label && data.labels[image.index] !== label)).toBe(true);
    });
  });

  test('are of all labels if each goes to the next', () => {
    const chosen = chosenBy(badnets({ form: 'all-to-all' }));
    expect(chosen).toHaveLength(40);
    expect(chosen.every(({ index, label }) => label === (data.labels[index]! + 1) % LABELS)).toBe(true);
    expect(new Set(chosen.map(({ label }) => label)).size).toBe(LABELS);
  });

  test('are of the source label, and as many others carry the trigger and keep their label', () => {
    const chosen = chosenBy(badnets({ form: 'source', sourceLabel: 2 }));
    const sent = chosen.filter(({ index }) => data.labels[index] === 2);
    const covers = chosen.filter(({ index }) => data.labels[index] !== 2);
    expect([sent.length, covers.length]).toEqual([40, 40]);
    expect(sent.every(({ label }) => label === 1)).toBe(true);
    expect(covers.every(({ index, label }) => label === data.labels[index])).toBe(true);
    expect(new Set(indices(chosen)).size).toBe(80);
  });

  test('are of the target label, all of it at most, if no label may be wrong', () => {
    const chosen = chosenBy(badnets({ form: 'clean-label' }, 0.9));
    expect(chosen).toHaveLength(100);
    expect(applyPoison(data, chosen, drawTriggers(badnets({ form: 'clean-label' }), data), 6).labels).toEqual(
      data.labels,
    );
    expect(chosen.every(({ index }) => data.labels[index] === 1)).toBe(true);
  });

  test('have others beside them that WaNet warps at random, each in its own way, and that keep their label', () => {
    const given: GivenAttack = { kind: 'wanet', grid: 3, strength: 1, noiseRatio: 2, ...COMMON };
    const attack = attackSchema.parse(given) as PlantedAttack;
    const chosen = chosenBy(attack);
    const noisy = chosen.filter(({ noise }) => noise);
    expect([chosen.length, noisy.length, new Set(indices(chosen)).size]).toEqual([120, 80, 120]);
    expect(noisy.every(({ index, label }) => label === data.labels[index])).toBe(true);
    // The same image twice is warped in two ways where it is noise, and in one where it is poisoned.
    const twice = {
      ...data,
      images: Uint8Array.from([...data.images.slice(0, 144), ...data.images.slice(0, 144)]),
      count: 2,
    };
    const both = (noise: boolean): Uint8Array =>
      applyPoison(
        { ...twice, labels: Int32Array.of(0, 0) },
        [0, 1].map((index) => ({ index, trigger: 0, label: 0, noise })),
        drawTriggers(attack, data),
        6,
      ).images;
    expect(both(true).slice(0, 144)).not.toEqual(both(true).slice(144));
    expect(both(false).slice(0, 144)).toEqual(both(false).slice(144));
  });
});

test('what an attack wants of a triggered image follows from its true label', () => {
  const goals = (targets: Targets, trigger = 0): (number | null)[] =>
    [0, 1, 2, 3].map((label) => goalOf(badnets(targets), trigger, label, LABELS));
  expect(goals({ form: 'one' })).toEqual([1, null, 1, 1]);
  expect(goals({ form: 'clean-label' })).toEqual([1, null, 1, 1]);
  expect(goals({ form: 'several', furtherLabels: [3] }, 1)).toEqual([3, 3, 3, null]);
  expect(goals({ form: 'all-to-all' })).toEqual([1, 2, 3, 0]);
  expect(goals({ form: 'source', sourceLabel: 3 })).toEqual([null, null, null, 1]);
  expect(() => goals({ form: 'one' }, 1)).toThrow(/no trigger 1/);
});
