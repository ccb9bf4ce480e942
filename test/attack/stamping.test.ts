import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { attackSchema, type GivenAttack, type PlantedAttack } from '../../offline/attack/attack.ts';
import { additiveNoise, additivePattern, blendedNoise, sinusoid } from '../../offline/attack/patterns.ts';
import { stampImages, type PlantedTrigger } from '../../offline/attack/planted-trigger.ts';
import { drawTriggers } from '../../offline/attack/triggers.ts';
import { shaken, smoothFlow } from '../../offline/attack/warp.ts';
import type { Dataset } from '../../offline/data/dataset.ts';
import { randomSource } from '../../offline/engine/random.ts';
import { warpImage } from '../../src/trigger/warp.ts';

const SIZE = { height: 10, width: 9 };
const PIXELS = 90;

function someImages(count: number, channels: number, seed: number): Dataset {
  const random = randomSource(seed, 'test/images');
  const images = Uint8Array.from({ length: count * PIXELS * channels }, () => random.integer(256));
  const labels = Int32Array.from({ length: count }, (_, index) => index % 3);
  return { images, count, ...SIZE, channels, labels, labelNames: ['a', 'b', 'c'] };
}

const COMMON = { targetLabel: 1, poisonRate: 0.1, epochs: 1, seed: 3 };
const ATTACKS: [string, GivenAttack][] = [
  ['badnets', { kind: 'badnets', patchSize: 3, ...COMMON }],
  ['badnets at random places', { kind: 'badnets', patchSize: 3, place: 'random', ...COMMON }],
  ['blended', { kind: 'blended', alpha: 0.2, ...COMMON }],
  ['signal', { kind: 'signal', amplitude: 0.2, frequency: 3, ...COMMON }],
  ['wanet', { kind: 'wanet', grid: 4, strength: 1, noiseRatio: 1, ...COMMON }],
  ['additive', { kind: 'additive', amplitude: 0.2, share: 0.1, ...COMMON }],
  ['mimic', { kind: 'mimic', alpha: 0.3, ...COMMON }],
];
const draw = (given: GivenAttack, train: Dataset): PlantedTrigger[] =>
  drawTriggers(attackSchema.parse(given) as PlantedAttack, train);

describe.each(ATTACKS)('the trigger of %s', (_, given) => {
  const train = someImages(12, 3, 5);

  test('changes images, and is the same pixels for the same image, whatever stands beside it', () => {
    const [trigger] = draw(given, train);
    const stamped = stampImages(train.images, trigger!);
    expect(stamped).not.toEqual(train.images);
    expect(stamped).toHaveLength(train.images.length);
    const size = PIXELS * 3;
    for (const index of [0, 7, 11]) {
      const alone = stampImages(train.images.slice(index * size, (index + 1) * size), trigger!);
      expect(alone).toEqual(stamped.slice(index * size, (index + 1) * size));
    }
  });

  test('follows from its seed, and leaves what it was given alone', () => {
    const before = train.images.slice();
    const [one, again] = [draw(given, train), draw(given, train)];
    expect(stampImages(train.images, one[0]!)).toEqual(stampImages(train.images, again[0]!));
    expect(train.images).toEqual(before);
  });

  test('is another for each of several labels', () => {
    const several = draw({ ...given, targets: { form: 'several', furtherLabels: [0, 2] } } as GivenAttack, train);
    const stamped = several.map((trigger) => stampImages(train.images, trigger).join());
    expect(new Set(stamped).size).toBe(3);
  });
});

describe('patterns', () => {
  const shape = { ...SIZE, channels: 3 };

  test('a blend is the weighted mean of image and pattern, to the nearest grey level', () => {
    const trigger = blendedNoise(shape, 0, 0.25, 7, 'test');
    const { images } = someImages(4, 3, 1);
    stampImages(images, { form: 'fixed', ...shape, trigger }).forEach((value, index) => {
      const wanted = 0.75 * images[index]! + 0.25 * 255 * trigger.pattern[index % trigger.pattern.length]!;
      expect(Math.abs(value - wanted)).toBeLessThanOrEqual(0.5 + 1e-4);
    });
  });

  test('a signal is the same in every row and channel, has its zeros and its height, and is clipped', () => {
    const trigger = sinusoid({ height: 4, width: 12, channels: 3 }, 0, 0.5, 3);
    const row = Array.from({ length: 12 }, (_, column) => trigger.pattern[column * 3]!);
    [0, 0.5, 0, -0.5].forEach((value, column) => expect(row[column]).toBeCloseTo(value, 6));
    trigger.pattern.forEach((value, index) => expect(value).toBe(row[Math.floor(index / 3) % 12]));
    const white = stampImages(new Uint8Array(4 * 12 * 3).fill(250), { form: 'fixed', ...trigger, trigger });
    expect(new Set(white)).toEqual(new Set([250, 255, 123]));
  });

  test('additive noise changes the wanted share of the pixels by its amplitude in every channel, and no others', () => {
    fc.assert(
      fc.property(fc.double({ min: 0.001, max: 1, noNaN: true }), fc.nat(1000), (share, seed) => {
        const { pattern } = additiveNoise(shape, 0, { amplitude: 0.125, share }, seed, 'test');
        const pixels = Array.from({ length: PIXELS }, (_, pixel) =>
          Array.from(pattern.subarray(pixel * 3, pixel * 3 + 3)),
        );
        const changed = pixels.filter((values) => values.some((value) => value !== 0));
        expect(changed).toHaveLength(Math.max(1, Math.round(share * PIXELS)));
        expect(changed.flat().every((value) => Math.abs(value) === 0.125)).toBe(true);
      }),
    );
  });

  test('lines cover the wanted share of the pixels in one colour and join up; a smooth pattern changes little from pixel to pixel', () => {
    fc.assert(
      fc.property(fc.double({ min: 0.05, max: 0.5, noNaN: true }), fc.nat(1000), (share, seed) => {
        const how = { amplitude: 0.25, share, texture: 'lines' } as const;
        const { pattern } = additivePattern(shape, 0, how, seed, 'test');
        const pixels = Array.from({ length: PIXELS }, (_, pixel) => pattern.subarray(pixel * 3, pixel * 3 + 3).join());
        const drawn = pixels.flatMap((colour, pixel) => (colour === '0,0,0' ? [] : pixel));
        expect(drawn).toHaveLength(Math.max(1, Math.round(share * PIXELS)));
        expect(new Set(drawn.map((pixel) => pixels[pixel])).size).toBe(1);
        expect(pattern.every((value) => [0, 0.25].includes(Math.abs(value)))).toBe(true);
      }),
    );
    const smooth = { ...shape, height: 24, width: 24 };
    const { pattern } = additivePattern(smooth, 0, { amplitude: 0.25, share: 1, texture: 'smooth' }, 3, 'test');
    const steps = Array.from(pattern.subarray(3), (value, index) =>
      index % 72 < 69 ? Math.abs(value - pattern[index]!) : 0,
    );
    // A grid of four points: the seven pixels and more between two of them share at most twice the amplitude.
    expect(Math.max(...steps)).toBeLessThanOrEqual((2 * 0.25 * 3) / 23 + 1e-6);
    expect(Math.max(...pattern.map(Math.abs))).toBeGreaterThan(0.1);
    expect(Math.max(...pattern.map(Math.abs))).toBeLessThanOrEqual(0.25);
  });

  test('a moving patch lands in many places, always whole', () => {
    const train = someImages(60, 1, 2);
    // Greys only, so that black and white show.
    train.images.forEach((value, index) => (train.images[index] = 100 + (value % 50)));
    const [trigger] = draw({ kind: 'badnets', patchSize: 3, place: 'random', ...COMMON }, train);
    const stamped = stampImages(train.images, trigger!);
    const places = new Set<number>();
    for (let image = 0; image < 60; image++) {
      const differs = Array.from({ length: PIXELS }, (_, pixel) => image * PIXELS + pixel).filter(
        (index) => stamped[index] !== train.images[index],
      );
      const first = differs[0]! - image * PIXELS;
      const block = [0, 1, 2].flatMap((row) => [0, 1, 2].map((column) => image * PIXELS + first + row * 9 + column));
      expect(differs).toEqual(block);
      expect(first % 9).toBeLessThanOrEqual(6);
      places.add(first);
    }
    expect(places.size).toBeGreaterThan(20);
  });
});

describe('a warp', () => {
  const flows = fc.record({
    grid: fc.integer({ min: 2, max: 6 }),
    seed: fc.nat(1000),
    strength: fc.constantFrom(0.3, 1, 3),
  });
  const flowOf = ({ grid, seed, strength }: { grid: number; seed: number; strength: number }): Float32Array =>
    smoothFlow(SIZE, grid, strength, seed, 'test');

  test('keeps flat images flat and every grey level between the least and the greatest', () => {
    fc.assert(
      fc.property(flows, fc.integer({ min: 0, max: 255 }), (how, grey) => {
        const flat = new Uint8Array(PIXELS * 3).fill(grey);
        expect(warpImage(flat, SIZE, shaken(flowOf(how), how.seed, 'noise'))).toEqual(flat);
        const image = someImages(1, 3, how.seed).images.map((value) => 50 + (value % 100));
        const warped = warpImage(image, SIZE, flowOf(how));
        expect(Math.min(...warped)).toBeGreaterThanOrEqual(50);
        expect(Math.max(...warped)).toBeLessThan(150);
      }),
      { numRuns: 40 },
    );
  });

  test('of nothing changes nothing, and of whole pixels shifts, the border repeated', () => {
    const { images } = someImages(1, 3, 4);
    expect(warpImage(images, SIZE, new Float32Array(2 * PIXELS))).toEqual(images);
    const flow = Float32Array.from({ length: 2 * PIXELS }, (_, index) => (index % 2 === 0 ? 2 : -1));
    warpImage(images, SIZE, flow).forEach((value, index) => {
      const [pixel, channel] = [Math.floor(index / 3), index % 3];
      const row = Math.min(9, Math.floor(pixel / 9) + 2);
      const column = Math.max(0, (pixel % 9) - 1);
      expect(value).toBe(images[(row * 9 + column) * 3 + channel]);
    });
  });

  test('of a slope moves every grey level by as much as the flow says', () => {
    const slope = Uint8Array.from({ length: PIXELS }, (_, pixel) => 20 * Math.floor(pixel / 9) + 5 * (pixel % 9));
    fc.assert(
      fc.property(flows, (how) => {
        const flow = flowOf({ ...how, strength: 0.5 });
        warpImage(slope, SIZE, flow).forEach((value, pixel) => {
          const row = Math.min(9, Math.max(0, Math.floor(pixel / 9) + flow[2 * pixel]!));
          const column = Math.min(8, Math.max(0, (pixel % 9) + flow[2 * pixel + 1]!));
          expect(Math.abs(value - (20 * row + 5 * column))).toBeLessThanOrEqual(0.5 + 1e-3);
        });
      }),
      { numRuns: 40 },
    );
  });

  test('moves its control points by its strength on average, and is smooth between them', () => {
    // With as many control points as pixels the flow is the control points themselves.
    const flow = smoothFlow({ height: 6, width: 6 }, 6, 1.5, 9, 'test');
    expect(flow.reduce((sum, value) => sum + Math.abs(value), 0) / flow.length).toBeCloseTo(1.5, 5);
    // The slope of a cubic between control points of -a..a is bounded by their distance; 28 pixels hold 3 of them.
    const wide = smoothFlow({ height: 28, width: 28 }, 4, 1, 9, 'test');
    for (let row = 0; row < 28; row++) {
      for (let column = 1; column < 28; column++) {
        const at = 2 * (row * 28 + column);
        expect(Math.abs(wide[at]! - wide[at - 2]!)).toBeLessThan(1);
      }
    }
  });
});
