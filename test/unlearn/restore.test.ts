import { memory, softmax } from '@tensorflow/tfjs-core';
import { beforeAll, expect, test } from 'vitest';
import { everyIndex } from '../../offline/batch.ts';
import type { Dataset } from '../../offline/data/dataset.ts';
import { openWasm } from '../../offline/engine/wasm.ts';
import { mean } from '../../offline/mean.ts';
import { logitsOf } from '../../offline/predict.ts';
import { seeHeldBack } from '../../offline/unlearn/held-back.ts';
import { restoreLabels } from '../../offline/unlearn/restore.ts';
import { toDevice } from '../../src/network/forward.ts';
import type { Network } from '../../src/network/network.ts';
import type { HostWeights } from '../../src/network/safetensors.ts';
import type { Trigger } from '../../src/trigger/trigger.ts';
import { floatTensor } from '../support/tensors.ts';

beforeAll(openWasm);

/** Of one pixel: the brighter it is, the more it is "bright"; "grey" is as likely as its bias makes it. */
const networkOf = (bias: boolean): Network => ({
  schemaVersion: 1,
  input: { height: 1, width: 1, channels: 1 },
  labelNames: ['dark', 'grey', 'bright'],
  layers: [
    { type: 'flatten', name: 'flat', inputs: ['images'] },
    { type: 'dense', name: 'logits', inputs: ['flat'], units: 3, bias },
  ],
  output: 'logits',
});
const network = networkOf(true);
const images: Dataset = {
  images: Uint8Array.from({ length: 100 }, (_, index) => 2 * index),
  count: 100,
  height: 1,
  width: 1,
  channels: 1,
  labels: Int32Array.from({ length: 100 }, (_, index) => Math.floor(index / 34)),
  labelNames: null,
};
const weightsWith = (...bias: number[]): HostWeights =>
  new Map([
    ['logits/kernel', floatTensor([1, 3], [-30, 0, 30])],
    ['logits/bias', floatTensor([3], bias)],
  ]);
const trigger = (targetLabel: number, change: number): Trigger => {
  return { kind: 'additive', targetLabel, height: 1, width: 1, channels: 1, pattern: Float32Array.of(change) };
};
/** Unlearned weights restored by what recovered triggers and the images say. */
async function restoredBy(
  triggers: Trigger[],
  victim: HostWeights,
  weights: HostWeights,
  of = network,
): Promise<HostWeights> {
  const heldBack = await seeHeldBack({ network: of, images, triggers }, victim, 'flat');
  return restoreLabels(heldBack, weights);
}
const biasOf = (weights: HostWeights): number[] => [...weights.get('logits/bias')!.data];

/** Bright from the 53rd image on. */
const VICTIM = weightsWith(12, 0, -12.1);

test('a label that unlearning made too unlikely on held-back images gets its logit back, and no other label moves', async () => {
  // The trigger makes every image dark: none of them becomes bright by the bias.
  const tensors = memory().numTensors;
  const [dark, grey, bright] = biasOf(await restoredBy([trigger(2, -1)], VICTIM, weightsWith(12, 0, -14)));
  expect([dark, grey]).toEqual([12, 0]);
  expect(bright).toBeCloseTo(-12.1, 3);
  expect(memory().numTensors).toBe(tensors);
});

test('a label is not raised so far that a recovered trigger works again', async () => {
  // Stamped, every image is as bright as the brightest of those that are not bright.
  expect(biasOf(await restoredBy([trigger(2, 0.1)], VICTIM, weightsWith(12, 0, -14)))).toEqual([12, 0, -14]);
});

test('a label that unlearning made likelier than it was is lowered to what it was, and no other label moves', async () => {
  for (const change of [-1, 0.1]) {
    const [dark, grey, bright] = biasOf(await restoredBy([trigger(2, change)], VICTIM, weightsWith(12, 0, -11)));
    expect([dark, grey]).toEqual([12, 0]);
    expect(bright).toBeCloseTo(-12.1, 3);
  }
});

test('a network whose logits have no bias stays as it is', async () => {
  const kernel = new Map([['logits/kernel', floatTensor([1, 3], [-30, 0, 30])]]);
  const weaker = new Map([['logits/kernel', floatTensor([1, 3], [-30, 0, 20])]]);
  expect(await restoredBy([trigger(2, -1)], kernel, weaker, networkOf(false))).toBe(weaker);
});

const blurred = (slope: number, bright: number): HostWeights =>
  new Map([
    ['logits/kernel', floatTensor([1, 3], [-30, 0, slope])],
    ['logits/bias', floatTensor([3], [12, 0, bright])],
  ]);
/** The mean probability of "bright", of all images and of those that the victim gives it. */
async function means(weights: HostWeights): Promise<{ all: number; own: number }> {
  const device = toDevice(weights);
  const logits = logitsOf(network, device, images, everyIndex(100));
  const bright = ((await softmax(logits).array()) as number[][]).map((row) => row[2]!);
  device.forEach((tensor) => tensor.dispose());
  return { all: mean(bright), own: mean(bright.slice(52)) };
}
const restored = async (weights: HostWeights): Promise<{ all: number; own: number }> =>
  means(await restoredBy([trigger(2, -1)], VICTIM, weights));

test('a label that other images are given as well is lowered until its own images have lost a little, and no further', async () => {
  const victim = await means(VICTIM);
  const before = await means(blurred(8, 0));
  expect(before.all).toBeGreaterThan(1.2 * victim.all);
  expect(before.own).toBeGreaterThan(victim.own);
  const after = await restored(blurred(8, 0));
  expect(after.own).toBeCloseTo(0.97 * victim.own, 3);
  expect(after.all).toBeGreaterThan(victim.all);
});

test('a label that other images are given as well, but its own have lost, stays', async () => {
  const victim = await means(VICTIM);
  const before = await means(blurred(6, -1.1));
  expect(before.all).toBeGreaterThan(1.05 * victim.all);
  expect(before.own).toBeLessThan(0.97 * victim.own);
  expect(await restored(blurred(6, -1.1))).toEqual(before);
});

test('a label that unlearning made as likely as before, but elsewhere, is raised until its own images keep nearly all of its probability or all images give it 5 % more', async () => {
  const victim = await means(VICTIM);
  for (const weights of [blurred(8, -2.3), blurred(6, -1.4)]) {
    const before = await means(weights);
    expect(before.all).toBeGreaterThan(victim.all);
    expect(before.own).toBeLessThan(0.96 * victim.own);
  }
  const little = await restored(blurred(8, -2.3));
  expect(little.own).toBeCloseTo(0.97 * victim.own, 3);
  expect(little.all).toBeLessThan(1.05 * victim.all);
  const much = await restored(blurred(6, -1.4));
  expect(much.all).toBeCloseTo(1.05 * victim.all, 3);
  expect(much.own).toBeLessThan(0.97 * victim.own);
});

test('of several labels each is held by its own triggers alone', async () => {
  const [dark, grey, bright] = biasOf(
    await restoredBy([trigger(2, 0.1), trigger(0, 1)], VICTIM, weightsWith(10, 0, -14)),
  );
  expect([grey, bright]).toEqual([0, -14]);
  expect(dark).toBeGreaterThan(11.5);
});
