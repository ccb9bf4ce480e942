import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { openWasm } from '../../offline/engine/wasm.ts';
import { randomSource } from '../../offline/engine/random.ts';
import { partNorms, rawSize, readTriggers, stampParts, toParts, toRaw } from '../../offline/recover/raw-trigger.ts';
import { stamp, triggerNorm, type Trigger, type TriggerKind } from '../../src/trigger/trigger.ts';

beforeAll(openWasm);

const random = randomSource(3, 'test/raw triggers');
const [HEIGHT, WIDTH, CHANNELS] = [5, 4, 3];
const AREA = HEIGHT * WIDTH;

/** A trigger whose values keep a little away from the ends of their range, where the raw form is cut off. */
function randomTrigger(kind: TriggerKind, targetLabel: number): Trigger {
  const shape = { targetLabel, height: HEIGHT, width: WIDTH, channels: CHANNELS };
  const unit = (count: number): Float32Array => random.uniform(count).map((value) => 0.02 + 0.96 * value);
  if (kind === 'blend') return { ...shape, kind, mask: unit(AREA), pattern: unit(AREA * CHANNELS) };
  return { ...shape, kind, pattern: unit(AREA * CHANNELS).map((value) => 2 * value - 1) };
}

const joined = (triggers: readonly Trigger[]): tf.Tensor2D =>
  tf.tensor2d(Float32Array.from(triggers.flatMap((trigger) => [...toRaw(trigger)])), [
    triggers.length,
    rawSize(triggers[0]!),
  ]);

function expectClose(got: ArrayLike<number>, expected: ArrayLike<number>, tolerance = 1e-5): void {
  expect(got.length).toBe(expected.length);
  for (let index = 0; index < got.length; index++) {
    expect(Math.abs(got[index]! - expected[index]!)).toBeLessThan(tolerance);
  }
}

describe.each(['blend', 'additive'] as const)('raw triggers of kind %s', (kind) => {
  const triggers = [7, 1, 4].map((targetLabel) => randomTrigger(kind, targetLabel));

  test('come back as they went in, in order and with their labels', async () => {
    const read = await readTriggers(joined(triggers), triggers[0]!, [7, 1, 4]);
    read.forEach((trigger, index) => {
      const expected = triggers[index]!;
      const { height, width, channels, targetLabel } = expected;
      expect(trigger).toMatchObject({ kind, targetLabel, height, width, channels });
      expectClose(trigger.pattern, expected.pattern);
      if (trigger.kind === 'blend' && expected.kind === 'blend') expectClose(trigger.mask, expected.mask);
    });
    expect(read.length).toBe(3);
  });

  test('stay finite at the ends of their range and come back close to them', async () => {
    const ends = (count: number, low: number): Float32Array =>
      Float32Array.from({ length: count }, (_, index) => (index % 2 ? 1 : low));
    const shape = { targetLabel: 0, height: HEIGHT, width: WIDTH, channels: CHANNELS };
    const trigger: Trigger =
      kind === 'blend'
        ? { ...shape, kind, mask: ends(AREA, 0), pattern: ends(AREA * CHANNELS, 0) }
        : { ...shape, kind, pattern: ends(AREA * CHANNELS, -1) };
    expect(toRaw(trigger).every(Number.isFinite)).toBe(true);
    const [read] = await readTriggers(joined([trigger]), trigger, [0]);
    expectClose(read!.pattern, trigger.pattern, 0.0201);
    if (read!.kind === 'blend' && trigger.kind === 'blend') expectClose(read!.mask, trigger.mask, 0.0101);
  });

  test('are each stamped on their own group of images, as one trigger is', () => {
    const group = 2;
    const shape: [number, number, number, number] = [3 * group, HEIGHT, WIDTH, CHANNELS];
    const images = tf.tensor4d(random.uniform(3 * group * AREA * CHANNELS), shape);
    const stamped = stampParts(images, toParts(joined(triggers), triggers[0]!));
    const expected = triggers.map((trigger, index) =>
      stamp(tf.slice(images, [index * group, 0, 0, 0], [group, HEIGHT, WIDTH, CHANNELS]), trigger),
    );
    expect(stamped.shape).toEqual(shape);
    expectClose(stamped.dataSync(), tf.concat(expected).dataSync());
  });

  test('have the norms of the triggers', () => {
    const norms = partNorms(toParts(joined(triggers), triggers[0]!));
    expectClose(norms.dataSync(), triggers.map(triggerNorm), 1e-4);
  });

  test('are always within range, however large the raw numbers', async () => {
    const raw = tf.tensor2d(
      random.normal(2 * rawSize(triggers[0]!)).map((value) => 50 * value),
      [2, rawSize(triggers[0]!)],
    );
    const least = kind === 'blend' ? 0 : -1;
    for (const trigger of await readTriggers(raw, triggers[0]!, [0, 1])) {
      const values = trigger.kind === 'blend' ? [...trigger.mask, ...trigger.pattern] : [...trigger.pattern];
      expect(values.every((value) => value >= least && value <= 1)).toBe(true);
    }
  });
});
