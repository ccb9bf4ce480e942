import '@tensorflow/tfjs-backend-cpu';
import { setBackend, tensor4d, tidy } from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { stamp, stampPixels, triggerNorm, type Trigger } from '../../src/trigger/trigger.ts';

beforeAll(() => setBackend('cpu'));

const unit = fc.double({ min: 0, max: 1, noNaN: true });
const floats = (value: fc.Arbitrary<number>, length: number): fc.Arbitrary<Float32Array> =>
  fc.array(value, { minLength: length, maxLength: length }).map((values) => Float32Array.from(values));

/** Warps have tests of their own (warp.test.ts). */
type Stamped = Exclude<Trigger, { kind: 'warp' }>;

const axis = fc.integer({ min: 1, max: 4 });
const cases = fc
  .tuple(fc.constantFrom('blend', 'additive'), axis, axis, axis, axis)
  .chain(
    ([kind, count, height, width, channels]): fc.Arbitrary<{ trigger: Stamped; count: number; pixels: Uint8Array }> => {
      const size = height * width * channels;
      const shape = { targetLabel: 0, height, width, channels };
      const trigger: fc.Arbitrary<Stamped> =
        kind === 'blend'
          ? fc.record({ mask: floats(unit, height * width), pattern: floats(unit, size) }).map((parts) => {
              return { ...shape, kind, ...parts };
            })
          : floats(
              unit.map((value) => 2 * value - 1),
              size,
            ).map((pattern) => ({ ...shape, kind: 'additive', pattern }));
      return fc.record({
        trigger,
        count: fc.constant(count),
        pixels: fc.uint8Array({ minLength: count * size, maxLength: count * size }),
      });
    },
  );

/** The definition, one number at a time: x in 0..1 at image n, row y, column x, channel c. */
function stampedValue(value: number, trigger: Stamped, y: number, x: number, c: number): number {
  const { width, channels } = trigger;
  const position = y * width + x;
  const pattern = trigger.pattern[position * channels + c]!;
  if (trigger.kind === 'additive') return Math.min(1, Math.max(0, value + pattern));
  const mask = trigger.mask[position]!;
  return (1 - mask) * value + mask * pattern;
}

function scalarStamp(values: readonly number[], count: number, trigger: Stamped): number[] {
  const { height, width, channels } = trigger;
  const stamped: number[] = [];
  for (let n = 0; n < count; n++) {
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        for (let c = 0; c < channels; c++) {
          stamped.push(stampedValue(values[stamped.length]!, trigger, y, x, c));
        }
      }
    }
  }
  return stamped;
}

describe('stamping', () => {
  test('of tensors agrees with a scalar loop over the definition, for both kinds and any shape', () => {
    fc.assert(
      fc.property(cases, ({ trigger, count, pixels }) => {
        const { height, width, channels } = trigger;
        const values = Array.from(pixels, (pixel) => pixel / 255);
        const stamped = tidy(() =>
          stamp(tensor4d(values, [count, height, width, channels]), trigger)
            .arraySync()
            .flat(3),
        );
        const expected = scalarStamp(values, count, trigger);
        expect(stamped.length).toBe(expected.length);
        stamped.forEach((value, index) => expect(Math.abs(value - expected[index]!)).toBeLessThan(1e-6));
      }),
    );
  });

  test('of pixels gives the same image as that of tensors, to half a grey level', () => {
    fc.assert(
      fc.property(cases, ({ trigger, count, pixels }) => {
        const expected = scalarStamp(
          Array.from(pixels, (pixel) => pixel / 255),
          count,
          trigger,
        );
        const before = pixels.slice();
        stampPixels(pixels, trigger).forEach((pixel, index) => {
          expect(Math.abs(pixel - 255 * expected[index]!)).toBeLessThan(0.5 + 1e-4);
        });
        expect(pixels).toEqual(before);
      }),
    );
  });
});

describe('the norm of a trigger', () => {
  const shape = { targetLabel: 0, height: 3, width: 4, channels: 3 };

  test('that blends is the area of its mask, whatever its pattern', () => {
    const mask = new Float32Array(12).fill(0.25, 0, 4).fill(1, 4, 6);
    for (const value of [0, 1]) {
      const trigger: Trigger = { ...shape, kind: 'blend', mask, pattern: new Float32Array(36).fill(value) };
      expect(triggerNorm(trigger)).toBe(4 * 0.25 + 2);
    }
  });

  test('that adds counts both signs, averaged over the channels', () => {
    const pattern = new Float32Array(36).fill(0.5, 0, 3).fill(-0.25, 3, 6);
    expect(triggerNorm({ ...shape, kind: 'additive', pattern })).toBe(0.5 + 0.25);
  });

  test('is the largest for one that covers the whole image', () => {
    const pattern = new Float32Array(36);
    expect(triggerNorm({ ...shape, kind: 'blend', mask: new Float32Array(12).fill(1), pattern })).toBe(12);
    expect(triggerNorm({ ...shape, kind: 'additive', pattern: pattern.fill(-1) })).toBe(12);
  });
});
