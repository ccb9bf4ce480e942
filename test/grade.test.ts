import { beforeAll, expect, test } from 'vitest';
import { openEngine } from '../offline/engine/engine.ts';
import type { Dataset } from '../offline/data/dataset.ts';
import type { Model } from '../offline/model.ts';
import {
  gradeByAdvantage,
  gradeLabels,
  isInformed,
  usualTransfer,
  weighTriggers,
  type Evidence,
  type Grade,
} from '../offline/grade.ts';
import type { Recovery } from '../offline/recover/screening.ts';
import { parseNetwork } from '../src/network/network.ts';
import type { HostWeights } from '../src/network/safetensors.ts';
import type { Trigger } from '../src/trigger/trigger.ts';
import { asCandidates } from './support/candidates.ts';
import { floatTensor } from './support/tensors.ts';

const dense = (name: string, input: string, units: number) =>
  ({ type: 'dense', name, inputs: [input], units, bias: true }) as const;
const network = parseNetwork({
  schemaVersion: 1,
  input: { height: 2, width: 2, channels: 1 },
  labelNames: ['0', '1'],
  layers: [
    { type: 'flatten', name: 'flat', inputs: ['images'] },
    dense('features', 'flat', 4),
    { type: 'relu', name: 'trunk', inputs: ['features'] },
    dense('logits', 'trunk', 2),
  ],
  output: 'logits',
});
if (!network.ok) throw new Error(network.error);

/** Pixel 0 speaks for label 0, pixel 1 for label 1, and pixel 2, which no image has, twice as much for label 1. */
const weights = (scale: number, pixel2 = 12): HostWeights => {
  const identity = Array.from({ length: 16 }, (_, index) => (index % 5 === 0 ? 1 : 0));
  return new Map([
    ['features/kernel', floatTensor([4, 4], identity)],
    ['features/bias', floatTensor([4], [0, 0, 0, 0])],
    [
      'logits/kernel',
      floatTensor(
        [4, 2],
        [3, 0, 0, 6, 0, pixel2, 0, 0].map((value) => value * scale),
      ),
    ],
    ['logits/bias', floatTensor([2], [0, 0])],
  ]);
};
const shape = { height: 2, width: 2, channels: 1 };
const images: Dataset = {
  ...shape,
  count: 4,
  images: Uint8Array.of(255, 0, 0, 0, 255, 0, 0, 0, 0, 255, 0, 0, 0, 255, 0, 0),
  labels: Int32Array.of(0, 0, 1, 1),
  labelNames: ['0', '1'],
};
const adding = (pixel: number, targetLabel = 1): Trigger => {
  const pattern = new Float32Array(4);
  pattern[pixel] = 1;
  return { ...shape, kind: 'additive', targetLabel, pattern };
};
const split = { learn: images, heldBack: images };
/** The reference has the weights of the model, but does not see pixel 2. */
const reference: Model = { network: network.value, weights: weights(1, 0) };
const recoveryOf = (scale = 1, heldBack = images) =>
  ({
    network: network.value,
    weights: weights(scale),
    split: { ...split, heldBack },
    seed: 1,
  }) as unknown as Recovery;
const measured = (triggers: Trigger[]) => asCandidates(triggers).map((found) => ({ ...found, norm: 1, hitRate: 1 }));
const weigh = (triggers: Trigger[], scale = 1, heldBack = images) =>
  weighTriggers(recoveryOf(scale, heldBack), reference, measured(triggers));
const gradesOf = (weighed: Record<number, Partial<Evidence>>, anomalyIndex = 0): (Grade | undefined)[] => {
  const none: Evidence = { conviction: 0, resemblance: 0, transfer: 0.5 };
  const all = new Map(Object.entries(weighed).map(([label, evidence]) => [Number(label), { ...none, ...evidence }]));
  return [...gradeLabels(all, () => anomalyIndex).values()];
};

beforeAll(async () => {
  await openEngine('wasm');
});

test('a trigger that adds what the label’s own images have resembles them, moves the reference as it moves the model, and is no backdoor', async () => {
  const weighed = await weigh([adding(1)]);
  const { conviction, resemblance, transfer } = weighed.get(1)!;
  expect(conviction).toBeCloseTo(0.5, 5);
  expect(resemblance).toBeCloseTo(1, 5);
  expect(transfer).toBeCloseTo(2 / 3, 5);
  expect([...gradeLabels(weighed, () => 0).values()]).toEqual(['natural shortcut']);
});

test('a trigger that adds what no image has resembles nothing, leaves the reference where it was, and is a backdoor if it convinces', async () => {
  const weighed = await weigh([adding(2)]);
  const { conviction, resemblance, transfer } = weighed.get(1)!;
  expect(conviction).toBeCloseTo(1.5, 5);
  expect(resemblance).toBeCloseTo(0, 5);
  expect(transfer).toBeCloseTo(0, 5);
  expect([...gradeLabels(weighed, () => 0).values()]).toEqual(['backdoor']);
});

test('the most telling trigger of a label counts, with the least transfer of all, and labels do not mix', async () => {
  const evidence = await weigh([adding(1), adding(2), adding(0, 0)]);
  expect(new Set(evidence.keys())).toEqual(new Set([0, 1]));
  expect(evidence.get(1)!.conviction).toBeCloseTo(1.5, 5);
  expect(evidence.get(1)!.transfer).toBeCloseTo(0, 5);
  expect(evidence.get(0)!.resemblance).toBeCloseTo(1, 5);
});

test('the scale of the logits changes nothing', async () => {
  const [one, hundred] = [await weigh([adding(1), adding(2)]), await weigh([adding(1), adding(2)], 100)];
  expect(hundred.get(1)!.conviction).toBeCloseTo(one.get(1)!.conviction, 4);
  expect(hundred.get(1)!.resemblance).toBeCloseTo(one.get(1)!.resemblance, 4);
});

test('of a label that no held-back image has nothing is said about transfer', async () => {
  const others: Dataset = { ...images, count: 2, images: images.images.slice(0, 8), labels: Int32Array.of(0, 0) };
  expect((await weigh([adding(2)], 1, others)).get(1)!.transfer).toBeNull();
});

test('a small trigger that is foreign to the reference is a backdoor even if it convinces little, but not if resemblance explains it', () => {
  const faint = { conviction: 0.3, resemblance: 0.1, transfer: 0.03 };
  expect(gradesOf({ 1: faint }, 1)).toEqual(['backdoor']);
  expect(gradesOf({ 1: { ...faint, resemblance: 0.2 } }, 1)).toEqual(['natural shortcut']);
  expect(gradesOf({ 1: faint }, 0.9)).toEqual(['natural shortcut']);
  expect(gradesOf({ 1: { ...faint, transfer: 0.3 } }, 1)).toEqual(['natural shortcut']);
  expect(gradesOf({ 1: { ...faint, transfer: null } }, 1)).toEqual(['natural shortcut']);
});

test('the reference explains what is natural where it is usually carried along by triggers', async () => {
  const usual = (...triggers: Trigger[]) => usualTransfer(recoveryOf(), reference, measured(triggers));
  const explained = await usual(adding(1), adding(1), adding(2));
  expect(explained).toBeCloseTo(2 / 3, 5);
  expect(isInformed(explained)).toBe(true);
  const unexplained = await usual(adding(2), adding(1), adding(2));
  expect(unexplained).toBeCloseTo(0, 5);
  expect([unexplained, await usual()].map(isInformed)).toEqual([false, false]);
});

test('a far outlier that the reference does not know is a backdoor whatever it resembles', () => {
  const resembling = { 1: { conviction: 0.4, transfer: 0.1, resemblance: 0.5 } };
  expect(gradesOf(resembling, 3)).toEqual(['backdoor']);
  expect(gradesOf(resembling, 2.9)).toEqual(['natural shortcut']);
  expect(gradesOf({ 1: { ...resembling[1], transfer: 0.2 } }, 9)).toEqual(['natural shortcut']);
});

test('what resemblance and transfer explain is taken off the conviction', () => {
  expect(gradesOf({ 1: { conviction: 1, transfer: 0.2 } })).toEqual(['backdoor']);
  expect(gradesOf({ 1: { conviction: 1, transfer: 0.2, resemblance: 0.4 } })).toEqual(['natural shortcut']);
  expect(gradesOf({ 1: { conviction: 1, transfer: null } })).toEqual(['backdoor']);
});

test('beside a much more convincing label a weaker one is no backdoor, beside an equal one it is', () => {
  const of = (conviction: number) => ({ conviction, transfer: 0 });
  expect(gradesOf({ 1: of(1), 2: of(1.2) })).toEqual(['backdoor', 'backdoor']);
  expect(gradesOf({ 1: of(1), 2: of(9) })).toEqual(['natural shortcut', 'backdoor']);
});

test('where the reference explains little, a label is a backdoor by its advantage over the others, and one far behind another planted one is not', () => {
  const graded = (advantages: [number, number][]) => [...gradeByAdvantage(new Map(advantages))];
  expect(graded([[3, 1.84]])).toEqual([[3, 'natural shortcut']]);
  expect(graded([[3, 1.85]])).toEqual([[3, 'backdoor']]);
  expect(
    graded([
      [3, 4],
      [5, 2.1],
      [7, 1],
    ]).map(([, grade]) => grade),
  ).toEqual(['backdoor', 'backdoor', 'natural shortcut']);
  expect(
    graded([
      [3, 4],
      [5, 1.9],
    ]).map(([, grade]) => grade),
  ).toEqual(['backdoor', 'natural shortcut']);
  expect(graded([])).toEqual([]);
});
