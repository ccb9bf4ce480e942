import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { loadDataset } from '../../offline/data/load.ts';
import { counting, loadError, text, writeFiles } from '../support/data-files.ts';

describe('CIFAR in binary form', () => {
  /** One record whose pixel (row, column) has red `start`, green `start + 1`, blue `start + 2`. */
  const record = (labels: number[], start: number): Uint8Array => {
    const planes = [0, 1, 2].flatMap((channel) => Array.from({ length: 1024 }, () => start + channel));
    planes[1] = 200;
    return Uint8Array.from([...labels, ...planes]);
  };
  const pair = (first: Uint8Array, second: Uint8Array): Uint8Array => Uint8Array.from([...first, ...second]);
  const names10 = text(`${counting(10, 0).join('\n')}\n\n`);

  test('is read from one file, planes made into pixels', async () => {
    const place = await writeFiles({ 'some.bin': pair(record([3], 10), record([9], 20)) });
    const result = await loadDataset(path.join(place, 'some.bin'));
    if (!result.ok) throw new Error(result.error);
    const { images, labels, labelNames, ...shape } = result.value;
    expect(shape).toEqual({ count: 2, height: 32, width: 32, channels: 3 });
    expect([...labels]).toEqual([3, 9]);
    expect(labelNames).toBeNull();
    expect([...images.subarray(0, 9)]).toEqual([10, 11, 12, 200, 11, 12, 10, 11, 12]);
    expect([...images.subarray(-3)]).toEqual([20, 21, 22]);
  });

  test('is read from a folder: training files in order, without the test file, with label names', async () => {
    const place = await writeFiles({
      'data_batch_10.bin': record([7], 0),
      'data_batch_2.bin': pair(record([5], 0), record([6], 0)),
      'test_batch.bin': record([1], 0),
      'batches.meta.txt': names10,
    });
    const result = await loadDataset(place);
    if (!result.ok) throw new Error(result.error);
    expect([...result.value.labels]).toEqual([5, 6, 7]);
    expect(result.value.labelNames).toEqual(['0', '1', '2', '3', '4', '5', '6', '7', '8', '9']);
  });

  test('is read as CIFAR-100 with its fine labels', async () => {
    const names = Array.from({ length: 100 }, (_, index) => `fine ${index}`);
    const place = await writeFiles({
      'train.bin': record([19, 99], 0),
      'test.bin': record([2, 42], 0),
      'fine_label_names.txt': text(names.join('\n')),
    });
    const training = await loadDataset(place);
    const testing = await loadDataset(path.join(place, 'test.bin'));
    if (!training.ok || !testing.ok) throw new Error('expected both to load');
    expect([...training.value.labels, ...testing.value.labels]).toEqual([99, 42]);
    expect(training.value.labelNames).toEqual(names);
  });

  test.each([
    [
      'a truncated file',
      { 'data_batch_1.bin': record([1], 0).subarray(1) },
      'a multiple of 3073 bytes (CIFAR-10), got 3072',
    ],
    ['an empty file', { 'train.bin': text('') }, 'DATA/train.bin: truncated or no CIFAR file'],
    [
      'a label out of range',
      { 'data_batch_1.bin': record([10], 0) },
      'data_batch_1.bin: labels: expected 0 to 9, got 10',
    ],
    [
      'a coarse label out of range',
      { 'train.bin': record([20, 0], 0) },
      'labels: expected 0 to 19, got 20 for image 0',
    ],
    ['only a test file', { 'test_batch.bin': record([1], 0) }, 'DATA: expected data_batch_*.bin or train.bin in it'],
    [
      'too few label names',
      { 'data_batch_1.bin': record([1], 0), 'batches.meta.txt': text('a\nb') },
      'batches.meta.txt: expected 10 label names, got 2',
    ],
  ])('is refused with %s', async (_name, files, error) => {
    expect(await loadError(files)).toContain(error);
  });
});
