import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { triggerPicture, writePictures } from '../../offline/report/pictures.ts';
import { decodeImage } from '../../src/image.ts';
import type { Trigger } from '../../src/trigger/trigger.ts';
import { testDirectory } from '../support/directory.ts';

const shape = { targetLabel: 3, height: 28, width: 28, channels: 1 };
const at = (index: number, value: number): Float32Array => {
  const values = new Float32Array(784);
  values[index] = value;
  return values;
};
const patch: Trigger = { ...shape, kind: 'blend', mask: at(29, 1), pattern: at(29, 1) };
const added: Trigger = { ...shape, kind: 'additive', pattern: at(0, -1) };

test('a picture is grey where the trigger changes nothing and shows it, enlarged, where it does', () => {
  const { height, width, data } = triggerPicture(patch);
  expect([height, width]).toEqual([224, 224]);
  const pixel = (row: number, column: number): number => data[row * width + column]!;
  expect(pixel(0, 0)).toBe(128);
  expect(pixel(8, 8)).toBe(255);
  expect(pixel(15, 15)).toBe(255);
  expect(pixel(16, 15)).toBe(128);
  expect(triggerPicture(added).data[0]).toBe(0);
});

test('every finding gets its smallest triggers as PNG files that decode again', async () => {
  const directory = join(await testDirectory(), 'pictures');
  const pool = [patch, added].map((trigger) => ({ trigger, norm: 1, hitRate: 1 }));
  const finding = { targetLabel: 3, grade: 'backdoor' as const, conviction: 1, evidence: [], pool };
  expect(await writePictures(directory, [finding])).toEqual({ ok: true, value: null });
  expect((await readdir(directory)).toSorted()).toEqual(['label-3-1-blend.png', 'label-3-2-additive.png']);
  const decoded = decodeImage(await readFile(join(directory, 'label-3-1-blend.png')), { maxPixels: 1e6 });
  expect(decoded).toMatchObject({ ok: true, value: { height: 224, width: 224 } });
});
