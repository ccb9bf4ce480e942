import { tensor2d, tidy } from '@tensorflow/tfjs-core';
import { beforeAll, expect, test } from 'vitest';
import type { Dataset } from '../../offline/data/dataset.ts';
import { randomSource } from '../../offline/engine/random.ts';
import { openWasm } from '../../offline/engine/wasm.ts';
import { seeSamples } from '../../offline/unlearn/samples.ts';
import type { Network } from '../../src/network/network.ts';
import type { Trigger } from '../../src/trigger/trigger.ts';

beforeAll(openWasm);

/** One pixel an image, so that the cut carries it as it is; too small to be shifted. */
const network: Network = {
  schemaVersion: 1,
  input: { height: 1, width: 1, channels: 1 },
  labelNames: ['dark', 'bright'],
  layers: [
    { type: 'flatten', name: 'flat', inputs: ['images'] },
    { type: 'dense', name: 'logits', inputs: ['flat'], units: 2, bias: false },
  ],
  output: 'logits',
};
const images: Dataset = {
  images: Uint8Array.from({ length: 100 }, (_, index) => index),
  count: 100,
  height: 1,
  width: 1,
  channels: 1,
  // Others than the network's answers, which are bright for all but the first.
  labels: Int32Array.from({ length: 100 }, (_, index) => Number(index >= 50)),
  labelNames: null,
};
const trigger: Trigger = {
  kind: 'additive',
  targetLabel: 1,
  height: 1,
  width: 1,
  channels: 1,
  pattern: Float32Array.of(0.25),
};

test('samples are clean images at the cut, their triggered copies, what the victim says of the clean ones, and whose label the trigger would not earn', async () => {
  const victim = new Map([['logits/kernel', tensor2d([0, 4], [1, 2])]]);
  const shares: number[] = [];
  const source = { network, cut: 'flat', images, triggers: [trigger] };
  const samples = await seeSamples(source, victim, randomSource(1, 'test'), (share) => shares.push(share));
  expect(shares.at(-1)).toBe(1);
  expect(shares).toEqual(shares.toSorted((a, b) => a - b));

  const chosen = Int32Array.from({ length: samples.count }, (_, index) => index);
  const { clean, triggered, answers, unearned } = tidy(() => samples.batch(chosen));
  const values = await clean.data();
  expect(new Set(values).size).toBe(100);
  const stamped = await triggered.data();
  const likely = await answers.data();
  values.forEach((value, index) => {
    expect(stamped[index]).toBeCloseTo(value + 0.25, 5);
    expect(likely[2 * index + 1]).toBeCloseTo(1 / (1 + Math.exp(-4 * value)), 5);
  });

  const asked = await unearned.data();
  values.forEach((value, index) => {
    expect(asked.slice(2 * index, 2 * index + 2)).toEqual(Float32Array.of(0, value * 255 < 49.5 ? 1 : 0));
  });

  const some = Int32Array.of(samples.count - 1, 0, 64);
  expect([...(await samples.batch(some).clean.data())]).toEqual([...some].map((sample) => values[sample]));
});
