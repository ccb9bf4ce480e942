import { tidy } from '@tensorflow/tfjs-core';
import { beforeAll, expect, test } from 'vitest';
import type { Dataset } from '../../offline/data/dataset.ts';
import { randomSource } from '../../offline/engine/random.ts';
import { openWasm } from '../../offline/engine/wasm.ts';
import { drawViews } from '../../offline/unlearn/views.ts';

beforeAll(openWasm);

const SIDE = 8;
const COUNT = 100;
/** Image i is of brightness i + 1 on its left half, i + 101 on its right, so that a pixel tells whose it is and where it was; its label is i. */
const dataset: Dataset = {
  images: Uint8Array.from({ length: COUNT * SIDE * SIDE }, (_, index) => {
    const image = Math.floor(index / SIDE ** 2);
    return image + 1 + (index % SIDE < SIDE / 2 ? 0 : 100);
  }),
  count: COUNT,
  height: SIDE,
  width: SIDE,
  channels: 1,
  labels: Int32Array.from({ length: COUNT }, (_, index) => index),
  labelNames: null,
};

/** The pixels of many views, in 0..255, each with its labels. */
function manyViews(): { pixels: number[]; labels: number[] }[] {
  const random = randomSource(1, 'test');
  return Array.from({ length: 100 }).flatMap(() =>
    tidy(() => {
      const { images, labels } = drawViews(dataset, 4, random);
      return images.arraySync().map((image, row) => ({
        pixels: image.flat(2).map((value) => Math.round(255 * value)),
        labels: labels[row]!,
      }));
    }),
  );
}

const imageOf = (pixel: number): number => (pixel - 1) % 100;

test('a view shows one image, or two of which one is in a rectangle of at most half of it, and is labelled with what covers a quarter', () => {
  for (const { pixels, labels } of manyViews()) {
    const shown = pixels.filter((pixel) => pixel > 0);
    const others = pixels.flatMap((pixel, place) => (pixel > 0 && imageOf(pixel) !== labels[0] ? [place] : []));
    expect(new Set(shown.map(imageOf)).size).toBeLessThanOrEqual(2);
    expect(others.length).toBeLessThanOrEqual(SIDE ** 2 / 2);
    const rows = others.map((place) => Math.floor(place / SIDE));
    const columns = others.map((place) => place % SIDE);
    if (!others.length) continue;
    const [tall, wide] = [rows, columns].map((of) => Math.max(...of) - Math.min(...of) + 1);
    expect(others.length).toBe(tall! * wide!);
    // What lies beyond the edge of an image that was moved is black, and not told apart here.
    if (pixels.some((pixel) => pixel === 0)) continue;
    expect(labels.slice(1)).toEqual(others.length >= SIDE ** 2 / 4 ? [imageOf(pixels[others[0]!]!)] : []);
  }
});

test('half of the views are mirrored, and most show a part of another image', () => {
  const views = manyViews();
  const mirrored = views.filter(({ pixels, labels }) => {
    const first = pixels.findIndex((pixel) => pixel > 0 && imageOf(pixel) === labels[0]);
    const last = pixels.findLastIndex((pixel) => pixel > 0 && imageOf(pixel) === labels[0]);
    return pixels[first]! > pixels[last]!;
  });
  expect(mirrored.length / views.length).toBeGreaterThan(0.35);
  expect(mirrored.length / views.length).toBeLessThan(0.65);
  const mixed = views.filter(({ pixels, labels }) => pixels.some((pixel) => pixel > 0 && imageOf(pixel) !== labels[0]));
  expect(mixed.length / views.length).toBeGreaterThan(0.6);
});
