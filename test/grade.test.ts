import { beforeAll, expect, test } from 'vitest';
import { openEngine } from '../offline/engine/engine.ts';
import type { Dataset } from '../offline/data/dataset.ts';
import { backdoorLimit, strengthOf, weighTriggers } from '../offline/grade.ts';
import type { Recovery } from '../offline/recover/screening.ts';
import { parseNetwork } from '../src/network/network.ts';
import type { HostWeights } from '../src/network/safetensors.ts';
import type { Trigger } from '../src/trigger/trigger.ts';

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
const weights = (scale: number): HostWeights => {
  const tensor = (shape: number[], values: number[]) =>
    ({ dtype: 'F32', shape, data: Float32Array.from(values) }) as const;
  const identity = Array.from({ length: 16 }, (_, index) => (index % 5 === 0 ? 1 : 0));
  return new Map([
    ['features/kernel', tensor([4, 4], identity)],
    ['features/bias', tensor([4], [0, 0, 0, 0])],
    [
      'logits/kernel',
      tensor(
        [4, 2],
        [3, 0, 0, 6, 0, 12, 0, 0].map((value) => value * scale),
      ),
    ],
    ['logits/bias', tensor([2], [0, 0])],
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
const weigh = async (triggers: Trigger[], scale = 1) => {
  const split = { learn: images, heldBack: images };
  const recovery = { network: network.value, weights: weights(scale), split, seed: 1 } as unknown as Recovery;
  return weighTriggers(
    recovery,
    triggers.map((trigger) => ({ trigger, norm: 1, hitRate: 1 })),
  );
};

beforeAll(async () => {
  await openEngine('wasm');
});

test('a trigger that adds what the label’s own images have resembles them wholly, and is no backdoor', async () => {
  const evidence = (await weigh([adding(1)])).get(1)!;
  expect(evidence.conviction).toBeCloseTo(0.5, 5);
  expect(evidence.resemblance).toBeCloseTo(1, 5);
  expect(strengthOf(evidence)).toBeLessThan(backdoorLimit([]));
});

test('a trigger that adds what no image has resembles nothing, and is a backdoor if it convinces', async () => {
  const evidence = (await weigh([adding(2)])).get(1)!;
  expect(evidence.conviction).toBeCloseTo(1.5, 5);
  expect(evidence.resemblance).toBeCloseTo(0, 5);
  expect(strengthOf(evidence)).toBeGreaterThan(backdoorLimit([]));
});

test('the most telling trigger of a label counts, and labels do not mix', async () => {
  const evidence = await weigh([adding(1), adding(2), adding(0, 0)]);
  expect(new Set(evidence.keys())).toEqual(new Set([0, 1]));
  expect(evidence.get(1)!.conviction).toBeCloseTo(1.5, 5);
  expect(evidence.get(0)!.resemblance).toBeCloseTo(1, 5);
});

test('the scale of the logits changes nothing', async () => {
  const [one, hundred] = [await weigh([adding(1), adding(2)]), await weigh([adding(1), adding(2)], 100)];
  expect(hundred.get(1)!.conviction).toBeCloseTo(one.get(1)!.conviction, 4);
  expect(hundred.get(1)!.resemblance).toBeCloseTo(one.get(1)!.resemblance, 4);
});

test('beside a much stronger label a weaker one is no backdoor, beside an equal one it is', () => {
  const of = (conviction: number) => ({ conviction, resemblance: 0 });
  expect(backdoorLimit([of(1), of(1.2)])).toBeLessThan(1);
  expect(backdoorLimit([of(1), of(9)])).toBeGreaterThan(1);
});
