import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, expect, test } from 'vitest';
import { smallCnn } from '../../offline/attack/small-cnn.ts';
import { attentionMap, attentionNodes } from '../../offline/baseline/distill.ts';
import { openEngine } from '../../offline/engine/engine.ts';
import { randomSource } from '../../offline/engine/random.ts';

beforeAll(async () => {
  await openEngine('wasm');
});

test('an attention map is the energy of each place over all channels, as a vector of length one', () => {
  const shape: [number, number, number, number] = [2, 3, 4, 5];
  const values = randomSource(1, 'attention').normal(120);
  const energy = Array.from({ length: 24 }, (_, place) => {
    const channels = [...values.subarray(place * 5, place * 5 + 5)];
    return channels.reduce((sum, value) => sum + value * value, 0);
  });
  const expected = energy.map((value, place) => {
    const image = Math.floor(place / 12);
    return value / Math.hypot(...energy.slice(image * 12, image * 12 + 12));
  });
  const map = attentionMap(tf.tensor4d(values, shape));
  expect(map.shape).toEqual([2, 12]);
  map.dataSync().forEach((value, index) => expect(value).toBeCloseTo(expected[index]!, 5));
});

test('attention is compared at the end of each of the last three resolutions', () => {
  const network = smallCnn({ height: 28, width: 28, channels: 1 }, ['one', 'two']);
  expect(attentionNodes(network)).toEqual(['stage2-relu', 'stage3-relu', 'stage4-relu']);
});
