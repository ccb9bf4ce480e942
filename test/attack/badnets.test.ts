import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { attackSchema, type PlantedAttack } from '../../offline/attack/attack.ts';
import { patchTrigger } from '../../offline/attack/badnets.ts';
import { fixed } from '../../offline/attack/planted-trigger.ts';
import { applyPoison, choosePoisoned } from '../../offline/attack/poison.ts';
import type { Dataset } from '../../offline/data/dataset.ts';
import { randomSource } from '../../offline/engine/random.ts';
import type { Trigger } from '../../src/trigger/trigger.ts';

const LABELS = 4;
const PURPOSE = 'attack/patch';

/** Stamps and relabels a share of all images with one fixed patch. */
function poison(dataset: Dataset, trigger: Trigger, poisonRate: number, seed: number): Dataset {
  const { targetLabel } = trigger;
  const given = { kind: 'badnets', patchSize: 3, targetLabel, poisonRate: 0.5, epochs: 1, seed };
  const attack = { ...attackSchema.parse(given), poisonRate } as PlantedAttack;
  return applyPoison(dataset, choosePoisoned(attack, dataset.labels, LABELS), [fixed(trigger)], seed);
}

function randomImages(count: number, seed: number, channels = 1): Dataset {
  const random = randomSource(seed, 'test/images');
  const labels = Int32Array.from({ length: count }, () => random.integer(LABELS));
  // Greys only, so that a black or white patch always shows.
  const images = Uint8Array.from({ length: count * 9 * 8 * channels }, () => 100 + random.integer(50));
  return { images, count, height: 9, width: 8, channels, labels, labelNames: null };
}

const maskOf = (trigger: Trigger): Float32Array => {
  if (trigger.kind !== 'blend') throw new Error('a patch must blend');
  return trigger.mask;
};

describe('a patch', () => {
  test('is a full square inside the image, of black and white pixels equal in all channels, at least half of them white', () => {
    const sizes = fc.record({
      height: fc.integer({ min: 5, max: 12 }),
      width: fc.integer({ min: 5, max: 12 }),
      channels: fc.constantFrom(1, 3),
    });
    fc.assert(
      fc.property(sizes, fc.integer({ min: 1, max: 5 }), fc.nat(1000), (shape, size, seed) => {
        const trigger = patchTrigger(shape, { size, targetLabel: 2, seed, purpose: PURPOSE });
        const mask = maskOf(trigger);
        expect(trigger).toMatchObject({ ...shape, kind: 'blend', targetLabel: 2 });
        expect(mask.length).toBe(shape.height * shape.width);
        expect(trigger.pattern.length).toBe(mask.length * shape.channels);
        const positions = [...mask.keys()].filter((position) => mask[position] === 1);
        expect(mask.filter((value) => value !== 0).length).toBe(size * size);
        expect(positions.length).toBe(size * size);
        const rows = positions.map((position) => Math.floor(position / shape.width));
        const columns = positions.map((position) => position % shape.width);
        for (const axis of [rows, columns]) expect(Math.max(...axis) - Math.min(...axis)).toBe(size - 1);
        const whites = positions.filter((position) => {
          const values = [...trigger.pattern.subarray(position * shape.channels, (position + 1) * shape.channels)];
          expect(new Set(values).size).toBe(1);
          expect([0, 1]).toContain(values[0]);
          return values[0] === 1;
        });
        expect(whites.length).toBeGreaterThanOrEqual((size * size) / 2);
      }),
    );
  });

  test('follows from its seed: the same again, and in other places for others', () => {
    const shape = { height: 9, width: 8, channels: 1 };
    const make = (seed: number): Trigger => patchTrigger(shape, { size: 3, targetLabel: 0, seed, purpose: PURPOSE });
    expect(make(5)).toEqual(make(5));
    const places = new Set(Array.from({ length: 40 }, (_, seed) => maskOf(make(seed)).indexOf(1)));
    expect(places.size).toBeGreaterThan(10);
  });
});

describe('poisoning', () => {
  test('changes exactly the wanted share of images, none of the target label, inside the patch only, and relabels them', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 20, max: 80 }),
        fc.double({ min: 0, max: 0.4, noNaN: true }),
        fc.nat(1000),
        fc.constantFrom(1, 3),
        (count, rate, seed, channels) => {
          const clean = randomImages(count, seed, channels);
          const before = { images: clean.images.slice(), labels: clean.labels.slice() };
          const trigger = patchTrigger(clean, { size: 3, targetLabel: 1, seed, purpose: PURPOSE });
          const poisoned = poison(clean, trigger, rate, seed);
          const size = clean.images.length / count;
          const mask = maskOf(trigger);
          let changed = 0;
          for (let image = 0; image < count; image++) {
            const start = image * size;
            const differs = Array.from({ length: size }, (_, offset) => offset).filter(
              (offset) => clean.images[start + offset] !== poisoned.images[start + offset],
            );
            if (!differs.length) {
              expect(poisoned.labels[image]).toBe(clean.labels[image]);
              continue;
            }
            changed += 1;
            expect(clean.labels[image]).not.toBe(1);
            expect(poisoned.labels[image]).toBe(1);
            expect(differs.length).toBe(9 * channels);
            for (const offset of differs) {
              expect(mask[Math.floor(offset / channels)]).toBe(1);
              expect(poisoned.images[start + offset]).toBe(255 * trigger.pattern[offset]!);
            }
          }
          const eligible = clean.labels.filter((label) => label !== 1).length;
          expect(changed).toBe(Math.min(Math.round(rate * count), eligible));
          expect({ images: clean.images, labels: clean.labels }).toEqual(before);
        },
      ),
      { numRuns: 50 },
    );
  });

  test('stops at the images that are not of the target label', () => {
    const clean = randomImages(40, 3);
    const trigger = patchTrigger(clean, { size: 3, targetLabel: 1, seed: 3, purpose: PURPOSE });
    expect(new Set(poison(clean, trigger, 1, 3).labels)).toEqual(new Set([1]));
  });

  test('follows from its seed: the same data again, other images for another seed', () => {
    const clean = randomImages(60, 4);
    const trigger = patchTrigger(clean, { size: 3, targetLabel: 1, seed: 4, purpose: PURPOSE });
    expect(poison(clean, trigger, 0.2, 8)).toEqual(poison(clean, trigger, 0.2, 8));
    expect(poison(clean, trigger, 0.2, 8).labels).not.toEqual(poison(clean, trigger, 0.2, 9).labels);
  });
});
