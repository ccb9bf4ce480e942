import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { loadDataset } from '../../offline/data/load.ts';
import { counting, loadError, writeFiles } from '../support/data-files.ts';

describe('an IDX pair', () => {
  const idx = (shape: number[], data: Uint8Array, type = 8): Uint8Array => {
    const header = Buffer.alloc(4 + 4 * shape.length);
    header.set([0, 0, type, shape.length]);
    shape.forEach((axis, index) => header.writeUInt32BE(axis, 4 + 4 * index));
    return new Uint8Array(Buffer.concat([header, data]));
  };
  const images = idx([2, 2, 3], counting(12, 7));
  const labels = idx([2], Uint8Array.from([4, 1]));
  const expected = {
    images: counting(12, 7),
    labels: Int32Array.from([4, 1]),
    labelNames: null,
    count: 2,
    height: 2,
    width: 3,
    channels: 1,
  };

  test.each([
    ['train-images-idx3-ubyte', { 'train-labels-idx1-ubyte': labels }, images],
    ['t10k-images-idx3-ubyte.gz', { 't10k-labels-idx1-ubyte.gz': gzipSync(labels) }, gzipSync(images)],
    ['train-images.idx3-ubyte', { 'train-labels.idx1-ubyte': labels }, images],
    ['train-images-idx3-ubyte.gz', { 'train-labels-idx1-ubyte': labels }, gzipSync(images)],
    ['t10k-images-idx3-ubyte', { 't10k-labels-idx1-ubyte.gz': gzipSync(labels) }, images],
  ])('is read by %s', async (name, beside, bytes) => {
    const place = await writeFiles({ ...beside, [name]: bytes });
    expect(await loadDataset(path.join(place, name))).toEqual({ ok: true, value: expected });
  });

  const name = 'train-images-idx3-ubyte';
  const labelsName = 'train-labels-idx1-ubyte';
  test.each([
    ['no labels file', { [name]: images }, `DATA/${name}: expected the labels file ${labelsName} beside it`],
    [
      'truncated images',
      { [name]: images.subarray(0, 20), [labelsName]: labels },
      `${name}: truncated: expected 12 bytes`,
    ],
    [
      'a truncated header',
      { [name]: images.subarray(0, 9), [labelsName]: labels },
      `${name}: truncated: expected a header`,
    ],
    [
      'trailing bytes',
      { [name]: images, [labelsName]: new Uint8Array([...labels, 1]) },
      `${labelsName}: too long: expected 2`,
    ],
    ['too few labels', { [name]: images, [labelsName]: idx([1], counting(1, 1)) }, `${labelsName}: expected 2 labels`],
    ['images of four axes', { [name]: idx([1, 2, 2, 1], counting(4, 0)), [labelsName]: labels }, 'expected 0x00000803'],
    ['images of floats', { [name]: idx([2, 2, 3], counting(48, 0), 13), [labelsName]: labels }, 'got 0x00000d03'],
    [
      'a size of 2^96',
      { [name]: idx([2 ** 32 - 1, 2 ** 32 - 1, 2 ** 32 - 1], images), [labelsName]: labels },
      'truncated',
    ],
    ['no images', { [name]: idx([0, 2, 3], counting(0, 0)), [labelsName]: labels }, 'expected at least one element'],
  ])('is refused with %s', async (_name, files, error) => {
    expect(await loadError(files, name)).toContain(error);
  });

  test('is refused by the name of its labels file', async () => {
    expect(await loadError({ [labelsName]: labels }, labelsName)).toContain('expected the images file of an IDX pair');
  });

  test('is refused when its gzip file is cut short', async () => {
    const files = { [`${name}.gz`]: gzipSync(images).subarray(0, 25), [labelsName]: labels };
    expect(await loadError(files, `${name}.gz`)).toContain(`${name}.gz: truncated or corrupt gzip file`);
  });
});
