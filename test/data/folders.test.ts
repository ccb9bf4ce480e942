import jpeg from 'jpeg-js';
import { describe, expect, test } from 'vitest';
import { loadDataset, loadUnlabelled } from '../../offline/data/load.ts';
import { encodePng } from '../../src/image.ts';
import { counting, loadError, text, writeFiles } from '../support/data-files.ts';

const grey = (start: number, height = 2, width = 3): Uint8Array =>
  encodePng({ height, width, channels: 1, data: counting(height * width, start) });
const colour = (start: number): Uint8Array =>
  encodePng({ height: 2, width: 3, channels: 3, data: counting(18, start) });

describe('a folder of class folders', () => {
  test('is read with classes and files in natural order, hidden files passed over', async () => {
    const place = await writeFiles({
      '10/b.png': grey(50),
      '2/10.PNG': grey(40),
      '2/9.png': grey(30),
      '2/.DS_Store': text('x'),
      'README.md': text('a file beside the classes'),
    });
    expect(await loadDataset(place)).toEqual({
      ok: true,
      value: {
        images: Uint8Array.from([...counting(6, 30), ...counting(6, 40), ...counting(6, 50)]),
        labels: Int32Array.from([0, 0, 1]),
        labelNames: ['2', '10'],
        count: 3,
        height: 2,
        width: 3,
        channels: 1,
      },
    });
  });

  test('gives RGB when some images are in colour, and reads JPEG', async () => {
    const data = new Uint8Array(2 * 3 * 4).fill(80);
    const place = await writeFiles({
      'cat/1.png': grey(5),
      'cat/2.jpeg': new Uint8Array(jpeg.encode({ height: 2, width: 3, data }, 100).data),
      'dog/1.png': colour(9),
    });
    const result = await loadDataset(place);
    if (!result.ok) throw new Error(result.error);
    expect(result.value.channels).toBe(3);
    expect([...result.value.images.subarray(0, 6)]).toEqual([5, 5, 5, 6, 6, 6]);
    expect(result.value.images.subarray(36)).toEqual(counting(18, 9));
  });

  test.each([
    ['an empty class', { 'a/1.png': grey(1), 'b/.keep': text('') }, 'DATA/b: empty class: expected PNG or JPEG files'],
    [
      'mixed sizes',
      { 'a/1.png': grey(1), 'a/2.png': grey(1, 3, 3) },
      'DATA/a/2.png: mixed image sizes: expected 2 x 3',
    ],
    ['other files', { 'a/1.webp': text('RIFF') }, 'DATA/a/1.webp: unsupported file: expected PNG or JPEG'],
    ['a truncated image', { 'a/1.png': grey(1).subarray(0, 40) }, 'DATA/a/1.png: image: truncated PNG'],
    ['text called .jpg', { 'a/1.jpg': text('hello') }, 'DATA/a/1.jpg: image: expected PNG or JPEG, got 5 bytes'],
    ['no class', { 'readme.txt': text('hello') }, 'DATA: expected class folders with PNG or JPEG files'],
  ])('is refused with %s', async (_name, files, expected) => {
    expect(await loadError(files)).toContain(expected);
  });

  test('is refused with pixels that are not opaque', async () => {
    const image = encodePng({ height: 1, width: 1, channels: 4, data: counting(4, 1) });
    expect(await loadError({ 'a/1.png': image })).toBe(
      'DATA/a/1.png: image: expected no transparency, got pixels that are not opaque',
    );
  });
});

describe('other paths', () => {
  test('a path where nothing is', async () => {
    expect(await loadError({}, 'nothing.safetensors')).toBe(
      'DATA/nothing.safetensors: cannot be read: no such file or folder',
    );
  });

  test('a file of another kind', async () => {
    expect(await loadError({ 'data.csv': text('1,2') }, 'data.csv')).toContain(
      'DATA/data.csv: unsupported file: expected',
    );
  });
});

describe('images without labels', () => {
  test('are those of a folder, or of the folders in it, every label 0', async () => {
    const flat = await writeFiles({ '1.png': grey(1), '2.png': grey(7), '.DS_Store': text('x') });
    const parted = await writeFiles({ 'a/1.png': grey(1), 'b/2.png': grey(7) });
    for (const place of [flat, parted]) {
      expect(await loadUnlabelled(place)).toEqual({
        ok: true,
        value: {
          images: Uint8Array.from([...counting(6, 1), ...counting(6, 7)]),
          labels: Int32Array.of(0, 0),
          labelNames: null,
          count: 2,
          height: 2,
          width: 3,
          channels: 1,
        },
      });
    }
  });

  test('are refused where there is no image', async () => {
    const place = await writeFiles({ '.DS_Store': text('x') });
    const refused = await loadUnlabelled(place);
    expect(refused).toMatchObject({ ok: false, error: expect.stringContaining('empty class') as string });
  });
});
