import { tensor2d } from '@tensorflow/tfjs-core';
import { beforeAll, expect, test } from 'vitest';
import { randomSource } from '../../offline/engine/random.ts';
import { openWasm } from '../../offline/engine/wasm.ts';
import { worstNearby } from '../../offline/unlearn/nearby.ts';
import type { Network } from '../../src/network/network.ts';

beforeAll(openWasm);

const SIZE = 40;
const network: Network = {
  schemaVersion: 1,
  input: { height: 1, width: SIZE, channels: 1 },
  labelNames: ['a', 'b', 'c'],
  layers: [
    { type: 'flatten', name: 'flat', inputs: ['images'] },
    { type: 'dense', name: 'logits', inputs: ['flat'], units: 3, bias: false },
  ],
  output: 'logits',
};
const random = randomSource(1, 'nearby');
const rows = (count: number, width: number): number[][] =>
  Array.from({ length: count }, () => [...random.uniform(width)].map((value) => value - 0.5));
/** What a unit of each activation adds to the three logits. */
const kernel = rows(SIZE, 3);
const clean = rows(3, SIZE);
/** The first trigger changes one activation by 3, the others all of them by 1. */
const change = (row: number, at: number): number => (row ? 1 : at ? 0 : 3);
const triggered = clean.map((values, row) => values.map((value, at) => value + change(row, at)));
/** The last image has the label that its trigger asks for. */
const unearned = [
  [0, 1, 0],
  [0, 0, 1],
  [0, 0, 0],
];

/** By the closed form for a linear head: the label's column of the kernel less the mean column, weighed by probability. */
function uphillOf(activations: readonly number[], label: number): number[] {
  const logits = [0, 1, 2].map((unit) => activations.reduce((sum, value, at) => sum + value * kernel[at]![unit]!, 0));
  const total = logits.reduce((sum, logit) => sum + Math.exp(logit), 0);
  return kernel.map(
    (row) => row[label]! - logits.reduce((sum, logit, unit) => sum + (Math.exp(logit) / total) * row[unit]!, 0),
  );
}

test('activations of a triggered copy are moved straight towards the label that it does not earn, by a share of what it changed that is at most 0.08 and falls with the number that it changed', async () => {
  const weights = new Map([['logits/kernel', tensor2d(kernel)]]);
  const asked = { clean: tensor2d(clean), triggered: tensor2d(triggered), unearned: tensor2d(unearned) };
  const moved = (await worstNearby({ network, weights, cut: 'flat', ...asked }).array()) as number[][];
  for (const { row, label, distance } of [
    { row: 0, label: 1, distance: 0.08 * 3 },
    { row: 1, label: 2, distance: (1.8 / SIZE) * Math.sqrt(SIZE) },
  ]) {
    const uphill = uphillOf(triggered[row]!, label);
    uphill.forEach((value, at) => {
      expect(moved[row]![at]).toBeCloseTo(triggered[row]![at]! + (distance * value) / Math.hypot(...uphill), 5);
    });
  }
  triggered[2]!.forEach((value, at) => expect(moved[2]![at]).toBeCloseTo(value, 6));
});
