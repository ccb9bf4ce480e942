import { memory } from '@tensorflow/tfjs-core';
import { beforeAll, expect, test } from 'vitest';
import type { Dataset } from '../../offline/data/dataset.ts';
import { openWasm } from '../../offline/engine/wasm.ts';
import { mean } from '../../offline/mean.ts';
import { mixOf, towardsVictim } from '../../offline/unlearn/interpolate.ts';
import type { Network } from '../../src/network/network.ts';
import type { HostWeights } from '../../src/network/safetensors.ts';
import type { Trigger } from '../../src/trigger/trigger.ts';
import { floatTensor } from '../support/tensors.ts';

beforeAll(openWasm);

/** Of one pixel, which is passed on as it is: the brighter, the more it is "bright". */
const network: Network = {
  schemaVersion: 1,
  input: { height: 1, width: 1, channels: 1 },
  labelNames: ['dark', 'bright'],
  layers: [
    { type: 'flatten', name: 'flat', inputs: ['images'] },
    { type: 'dense', name: 'seen', inputs: ['flat'], units: 1, bias: false },
    { type: 'dense', name: 'logits', inputs: ['seen'], units: 2, bias: true },
  ],
  output: 'logits',
};
const images: Dataset = {
  images: Uint8Array.from({ length: 40 }, (_, index) => 2 * index),
  count: 40,
  height: 1,
  width: 1,
  channels: 1,
  labels: new Int32Array(40),
  labelNames: null,
};
const TRUNK = floatTensor([1, 1], [1]);
const weightsWith = (slope: number, bias: number): HostWeights =>
  new Map([
    ['seen/kernel', TRUNK],
    ['logits/kernel', floatTensor([1, 2], [0, slope])],
    ['logits/bias', floatTensor([2], [0, bias])],
  ]);
/** Adds half of the largest brightness. */
const trigger: Trigger = {
  kind: 'additive',
  targetLabel: 1,
  height: 1,
  width: 1,
  channels: 1,
  pattern: Float32Array.of(0.5),
};
const VICTIM = weightsWith(30, -12);
const UNLEARNED = weightsWith(-10, -6);

/** The mean probability of "bright" under the trigger, this share of the way from the victim: in closed form. */
function likelihoodAt(share: number): number {
  const [slope, bias] = [30 - 40 * share, -12 + 6 * share];
  return mean([...images.images].map((value) => 1 / (1 + Math.exp(-slope * (value / 255 + 0.5) - bias))));
}

test('a head goes back half as far as the trigger stays denied, and the trunk stays what it was', async () => {
  const tensors = memory().numTensors;
  const back = await towardsVictim({ network, images, triggers: [trigger] }, VICTIM, UNLEARNED);
  const eighths = [1, 2, 3, 4, 5, 6, 7, 8].map((count) => count / 8);
  const least = eighths.find((share) => likelihoodAt(share) <= 0.01)!;
  expect(least).toBeGreaterThan(1 / 8);
  expect(least).toBeLessThan(1);
  const [slope, bias] = [back.get('logits/kernel')!.data[1]!, back.get('logits/bias')!.data[1]!];
  expect(slope).toBeCloseTo(30 - 20 * (1 + least), 4);
  expect(bias).toBeCloseTo(-12 + 3 * (1 + least), 4);
  expect(back.get('seen/kernel')).toBe(TRUNK);
  expect(memory().numTensors).toBe(tensors);
});

test('a head that does not deny the trigger goes back nowhere', async () => {
  const obedient = weightsWith(20, -10);
  const back = await towardsVictim({ network, images, triggers: [trigger] }, VICTIM, obedient);
  expect(back).toEqual(obedient);
});

test('a mix is the victim at no share, and the unlearned network at the whole', () => {
  expect(mixOf(VICTIM, UNLEARNED, 0)).toEqual(VICTIM);
  expect(mixOf(VICTIM, UNLEARNED, 1)).toEqual(UNLEARNED);
});
