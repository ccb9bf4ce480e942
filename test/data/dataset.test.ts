import { open, mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { checkDataset, digestDataset, selectImages, type Dataset } from '../../offline/data/dataset.ts';
import { loadDataset } from '../../offline/data/load.ts';
import { MAX_DATASET_BYTES } from '../../offline/data/read.ts';

/** Three images [2,1,1] of 10,11 / 20,21 / 30,31 with labels 2, 0, 1. */
const dataset: Dataset = {
  images: Uint8Array.from([10, 11, 20, 21, 30, 31]),
  count: 3,
  height: 2,
  width: 1,
  channels: 1,
  labels: Int32Array.from([2, 0, 1]),
  labelNames: ['ape', 'bee', 'cat'],
};
const expected = { height: 2, width: 1, channels: 1, labelCount: 3, requireEveryLabel: true };

describe('checkDataset', () => {
  test('passes a set that fits as it is', () => {
    expect(checkDataset(dataset, expected, 'clean')).toEqual({ ok: true, value: dataset });
  });

  test('gives grey images to a network of three channels as RGB, and the reverse', () => {
    const rgb = checkDataset(dataset, { ...expected, channels: 3 }, 'clean');
    if (!rgb.ok) throw new Error(rgb.error);
    const images = Uint8Array.from([10, 10, 10, 11, 11, 11, 20, 20, 20, 21, 21, 21, 30, 30, 30, 31, 31, 31]);
    expect(rgb.value).toEqual({ ...dataset, channels: 3, images });
    expect(checkDataset(rgb.value, expected, 'clean')).toEqual({ ok: true, value: dataset });
  });

  test('renumbers labels that the network knows by the same names', () => {
    const labelNames = ['cat', 'dog', 'bee', 'ape'];
    const result = checkDataset(dataset, { ...expected, labelCount: 4, labelNames, requireEveryLabel: false }, 'clean');
    expect(result).toEqual({ ok: true, value: { ...dataset, labels: Int32Array.from([0, 3, 2]), labelNames } });
  });

  test('keeps the numbers of labels when the network has other names', () => {
    const result = checkDataset(dataset, { ...expected, labelNames: ['0', '1', '2'] }, 'clean');
    expect(result).toEqual({ ok: true, value: dataset });
  });

  const colour: Dataset = { ...dataset, count: 1, channels: 3, labels: Int32Array.from([0]) };
  test.each<[string, Dataset, Partial<typeof expected>, string]>([
    ['another size', dataset, { width: 4 }, 'clean: images: expected 2 x 4 pixels, got 2 x 1'],
    ['colour for a grey network', colour, {}, 'clean: images: expected 1 channel, got 3 that differ (a colour image)'],
    ['channels that no rule fits', dataset, { channels: 5 }, 'clean: images: expected 5 channels, got 1'],
    ['a label too large', dataset, { labelCount: 2 }, 'clean: labels: expected 0 to 1, got 2 for image 0'],
    [
      'a negative label',
      { ...dataset, labels: Int32Array.from([0, -1, 1]), labelNames: null },
      {},
      'clean: labels: expected 0 to 2, got -1 for image 1',
    ],
    [
      'a label without images',
      dataset,
      { labelCount: 4 },
      'clean: labels: expected images of every label, got none of label 3',
    ],
    [
      'a named label without images',
      { ...dataset, labels: Int32Array.from([2, 0, 2]) },
      {},
      'clean: labels: expected images of every label, got none of label 1 (bee)',
    ],
  ])('refuses %s', (_name, given, change, error) => {
    expect(checkDataset(given, { ...expected, ...change }, 'clean')).toEqual({ ok: false, error });
  });
});

describe('selectImages', () => {
  test('takes images and labels in the order asked for, and copies them', () => {
    const selected = selectImages(dataset, [2, 0, 2]);
    expect([...selected.images]).toEqual([30, 31, 10, 11, 30, 31]);
    expect([...selected.labels]).toEqual([1, 2, 1]);
    expect(selected.count).toBe(3);
    selected.images.fill(0);
    expect(dataset.images[0]).toBe(10);
  });

  test.each([3, -1, 0.5, Number.NaN])('throws on index %d', (index) => {
    expect(() => selectImages(dataset, [index])).toThrow('expected indices of 0 to 2');
  });
});

describe('digestDataset', () => {
  test('is SHA-256 over shape, pixels and labels', () => {
    // printf '3,2,1,1\n\x0a\x0b\x14\x15\x1e\x1f\x02\0\0\0\0\0\0\0\x01\0\0\0' | sha256sum
    expect(digestDataset(dataset)).toBe('b42eb70b6b1aa66366d5a8884c2a7bee8ccf3e3402470344fc2318a21e34a662');
  });

  test('changes with a pixel, a label or the shape, and not with where the bytes lie', () => {
    const digests = [
      dataset,
      { ...dataset, images: dataset.images.with(5, 0) },
      { ...dataset, labels: dataset.labels.with(0, 1) },
      { ...dataset, height: 1, width: 2 },
    ].map(digestDataset);
    expect(new Set(digests).size).toBe(4);
    expect(digestDataset(selectImages(dataset, [0, 1, 2]))).toBe(digests[0]);
  });
});

test('a file larger than the limit is refused before it is read', async () => {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'trigger-guard-large-'));
  try {
    const name = path.join(folder, 'large.safetensors');
    // Sparse: it takes no room on the disk.
    const file = await open(name, 'w');
    await file.truncate(MAX_DATASET_BYTES + 1);
    await file.close();
    const error = `${name}: expected at most ${MAX_DATASET_BYTES} bytes, got ${MAX_DATASET_BYTES + 1} bytes`;
    expect(await loadDataset(name)).toEqual({ ok: false, error });
  } finally {
    await rm(folder, { recursive: true });
  }
});
