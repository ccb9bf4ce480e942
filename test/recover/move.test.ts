import fc from 'fast-check';
import { expect, test } from 'vitest';
import { randomSource } from '../../offline/engine/random.ts';
import { coreOf, movedBy, movedCopies } from '../../offline/recover/move.ts';
import { triggerNorm, type Trigger } from '../../src/trigger/trigger.ts';

const HEIGHT = 6;
const WIDTH = 9;
const CHANNELS = 2;

/** A patch of 2 x 3 pixels, each of another value. */
const patchAt = (top: number, left: number): Trigger => {
  const mask = new Float32Array(HEIGHT * WIDTH);
  const pattern = new Float32Array(HEIGHT * WIDTH * CHANNELS);
  for (let row = 0; row < 2; row++) {
    for (let column = 0; column < 3; column++) {
      const pixel = (top + row) * WIDTH + left + column;
      mask[pixel] = 0.5 + 0.05 * (3 * row + column);
      pattern.set([0.1 + 0.1 * row, 0.1 + 0.1 * column], pixel * CHANNELS);
    }
  }
  return { kind: 'blend', targetLabel: 3, height: HEIGHT, width: WIDTH, channels: CHANNELS, mask, pattern };
};
const additive = (trigger: Trigger): Trigger => {
  const { targetLabel, height, width, channels, pattern } = trigger;
  return { kind: 'additive', targetLabel, height, width, channels, pattern };
};

test('a moved patch is the patch at the other place', () => {
  const place = { top: fc.integer({ min: 0, max: HEIGHT - 2 }), left: fc.integer({ min: 0, max: WIDTH - 3 }) };
  fc.assert(
    fc.property(fc.record(place), fc.record(place), fc.boolean(), (from, to, adds) => {
      const at = ({ top, left }: typeof from): Trigger => (adds ? additive(patchAt(top, left)) : patchAt(top, left));
      expect(movedBy(at(from), to.top - from.top, to.left - from.left)).toEqual(at(to));
    }),
  );
});

test('what is moved out of the image is lost, and nothing comes in', () => {
  const moved = movedBy(patchAt(0, 0), -1, WIDTH - 1);
  expect(triggerNorm(moved)).toBeCloseTo(0.65, 5);
  expect(triggerNorm(movedBy(patchAt(2, 2), HEIGHT - 1, 0))).toBe(0);
});

test('copies keep nearly all of a trigger, go as far as asked, and reach every such place', () => {
  const patch = patchAt(0, 0);
  const places = new Set<number>();
  for (let seed = 1; seed <= 30; seed++) {
    const copies = movedCopies(patch, 10, 0.5, randomSource(seed, 'test'));
    expect(copies.length).toBeGreaterThan(5);
    expect(copies.length).toBeLessThanOrEqual(10);
    for (const copy of copies) {
      const place = (copy as { mask: Float32Array }).mask.findIndex((value) => value > 0);
      const [top, left] = [Math.floor(place / WIDTH), place % WIDTH];
      expect(copy).toEqual(patchAt(top, left));
      expect(Math.max(top / HEIGHT, left / WIDTH)).toBeGreaterThanOrEqual(0.5);
      places.add(place);
    }
  }
  // Of five rows by seven columns of places: all of the last two rows, and two columns of the first three.
  expect(places.size).toBe(2 * 7 + 3 * 2);
});

test('a trigger that covers the image has no copies elsewhere', () => {
  const everywhere = { ...patchAt(0, 0), mask: new Float32Array(HEIGHT * WIDTH).fill(1) } as Trigger;
  expect(movedCopies(everywhere, 5, 0.25, randomSource(1, 'test'))).toEqual([]);
});

test('the core of a trigger is its heaviest part, within a third of the sides, wherever that lies', () => {
  const place = fc.record({ top: fc.integer({ min: 0, max: 4 }), left: fc.integer({ min: 0, max: 6 }) });
  fc.assert(
    fc.property(place, fc.boolean(), ({ top, left }, adds) => {
      const of = (trigger: Trigger): Trigger => (adds ? additive(trigger) : trigger);
      const patch = patchAt(top, left);
      if (patch.kind !== 'blend') throw new Error('expected a mask');
      expect(coreOf(of(patch))).toEqual(of(patch));
      const far = ((top + 3) % HEIGHT) * WIDTH + ((left + 5) % WIDTH);
      const [mask, pattern] = [patch.mask.slice(), patch.pattern.slice()];
      mask[far] = 0.4;
      pattern.fill(0.15, far * CHANNELS, (far + 1) * CHANNELS);
      expect(coreOf(of({ ...patch, mask, pattern }))).toEqual(of(patch));
    }),
  );
});
