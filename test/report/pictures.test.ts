import { expect, test } from 'vitest';
import { triggerPicture } from '../../offline/report/pictures.ts';
import type { Trigger } from '../../src/trigger/trigger.ts';

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
