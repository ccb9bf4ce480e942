import { expect, test } from 'vitest';
import { heatMap, triggerPicture } from '../../src/trigger/picture.ts';
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

test('a heat map is orange where the trigger is strongest, and the image in grey where it changes nothing', () => {
  const white = { height: 28, width: 28, channels: 1, data: new Uint8Array(784).fill(200) };
  const colour = {
    ...white,
    channels: 3,
    data: Uint8Array.from({ length: 2352 }, (_, index) => [250, 10, 60][index % 3]!),
  };
  for (const [image, grey] of [
    [white, 150],
    // ITU-R BT.601: 0.299 * 250 + 0.587 * 10 + 0.114 * 60 = 87.46, of which three quarters stay.
    [colour, 66],
  ] as const) {
    const { width, data } = heatMap(image, patch)!;
    const pixel = (row: number, column: number): number[] =>
      Array.from(data.subarray(3 * (row * width + column)).subarray(0, 3));
    expect(pixel(0, 0)).toEqual([grey, grey, grey]);
    expect(pixel(8, 8)).toEqual([255, 106, 0]);
  }
  const faint: Trigger = { ...patch, mask: at(29, 0.1) };
  expect(heatMap(white, faint)).toEqual(heatMap(white, patch));
  expect(heatMap(white, { ...added, pattern: new Float32Array(784) })!.data[0]).toBe(150);
  expect(heatMap({ ...white, height: 14, data: new Uint8Array(392) }, patch)).toBeUndefined();
});

test('a warp is shown as a grid of lines that it bends', () => {
  const still: Trigger = { ...shape, kind: 'warp', pattern: new Float32Array(2 * 784) };
  const { width, data } = triggerPicture(still);
  const row = (image: typeof data, at: number): number[] =>
    Array.from(image.subarray(8 * at * width, 8 * at * width + width));
  expect(row(data, 2)).toEqual(Array.from({ length: width }, () => 255));
  expect(row(data, 3).filter((value) => value === 255)).toHaveLength(8 * 7);
  const down = { ...still, pattern: still.pattern.map((_, index) => (index % 2 ? 0 : 1)) };
  expect(row(triggerPicture(down).data, 1)).toEqual(row(data, 2));
  const white = { height: 28, width: 28, channels: 1, data: new Uint8Array(784).fill(200) };
  expect(heatMap(white, down)!.data[0]).toBe(255);
});
