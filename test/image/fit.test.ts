import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Image } from '../../src/image.ts';
import { fitImage } from '../../src/image/fit.ts';
import { resizeImage } from '../../src/image/resize.ts';

type Size = [height: number, width: number];
type Goldens = {
  resized: { from: Size; to: Size; pixels: string; resized: string }[];
  converted: { size: Size; rgb: string; grey: string; rgba: string; onWhite: string };
};

// Made by Pillow, which shares no code with this program: golden/resized.py.
const goldens = JSON.parse(readFileSync(new URL('../golden/resized.json', import.meta.url), 'utf8')) as Goldens;
const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'base64'));
const imageOf = ([height, width]: Size, channels: number, text: string): Image => ({
  height,
  width,
  channels,
  data: bytesOf(text),
});

const sizes = fc.record({ height: fc.integer({ min: 1, max: 40 }), width: fc.integer({ min: 1, max: 40 }) });

describe('resizeImage', () => {
  test.each(goldens.resized)('gives the bytes that Pillow gives from $from to $to', ({ from, to, pixels, resized }) => {
    expect(resizeImage(imageOf(from, 3, pixels), ...to)).toEqual(imageOf(to, 3, resized));
  });

  test('answers an image of the wanted size as it is', () => {
    const image = imageOf(goldens.resized[0]!.from, 3, goldens.resized[0]!.pixels);
    expect(resizeImage(image, image.height, image.width)).toBe(image);
  });

  test('keeps one colour one colour, and never goes beyond the darkest and brightest pixel', () => {
    const images = sizes.chain(({ height, width }) =>
      fc
        .uint8Array({ minLength: height * width * 2, maxLength: height * width * 2 })
        .map((data): Image => ({ height, width, channels: 2, data })),
    );
    fc.assert(
      fc.property(images, sizes, fc.integer({ min: 0, max: 255 }), (image, { height, width }, colour) => {
        const flat = { ...image, data: image.data.map(() => colour) };
        expect(resizeImage(flat, height, width).data.every((value) => value === colour)).toBe(true);
        const { data } = resizeImage(image, height, width);
        expect(data.length).toBe(height * width * 2);
        expect(Math.min(...data)).toBeGreaterThanOrEqual(Math.min(...image.data));
        expect(Math.max(...data)).toBeLessThanOrEqual(Math.max(...image.data));
      }),
    );
  });
});

describe('fitImage', () => {
  const { size, rgb, grey, rgba, onWhite } = goldens.converted;
  const [height, width] = size;

  test('makes colour grey as Pillow does', () => {
    expect(fitImage(imageOf(size, 3, rgb), { height, width, channels: 1 })).toEqual({
      ok: true,
      value: imageOf(size, 1, grey),
    });
  });

  test('composes transparency over white as Pillow does, and grey comes after it', () => {
    const composed = fitImage(imageOf(size, 4, rgba), { height, width, channels: 3 });
    expect(composed).toEqual({ ok: true, value: imageOf(size, 3, onWhite) });
    expect(fitImage(imageOf(size, 4, rgba), { height, width, channels: 1 })).toEqual(
      fitImage(imageOf(size, 3, onWhite), { height, width, channels: 1 }),
    );
  });

  test('composes grey with alpha, and repeats grey for a network that takes colour', () => {
    const image = { height: 1, width: 2, channels: 2, data: Uint8Array.of(0, 0, 100, 255) };
    expect(fitImage(image, { height: 1, width: 2, channels: 1 })).toMatchObject({
      value: { data: Uint8Array.of(255, 100) },
    });
    expect(fitImage(image, { height: 1, width: 2, channels: 3 })).toMatchObject({
      value: { data: Uint8Array.of(255, 255, 255, 100, 100, 100) },
    });
  });

  test('keeps transparency for a network that takes it', () => {
    const image = imageOf(size, 4, rgba);
    expect(fitImage(image, { height, width, channels: 4 })).toEqual({ ok: true, value: image });
  });

  test('refuses channels that no rule makes', () => {
    expect(fitImage(imageOf(size, 3, rgb), { height, width, channels: 4 })).toEqual({
      ok: false,
      error: 'image: expected 4 channels, got 3',
    });
  });
});
