import { memory } from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { initialWeights } from '../../offline/attack/initial-weights.ts';
import { smallCnn } from '../../offline/attack/small-cnn.ts';
import { everyIndex, indicesWithout, spread } from '../../offline/batch.ts';
import { selectImages, type Dataset } from '../../offline/data/dataset.ts';
import { randomSource } from '../../offline/engine/random.ts';
import { openWasm } from '../../offline/engine/wasm.ts';
import { answersOf, logitsOf } from '../../offline/predict.ts';
import { distinctCuts } from '../../offline/unlearn/cut.ts';
import {
  answersToClean,
  answersToStamped,
  confidenceOf,
  likelihood,
  seeHeldBack,
  type Logits,
} from '../../offline/unlearn/held-back.ts';
import { mixOf } from '../../offline/unlearn/interpolate.ts';
import { cleanMetrics } from '../../src/metrics.ts';
import { headWeights } from '../../src/network/cuts.ts';
import { toDevice } from '../../src/network/forward.ts';
import type { HostWeights } from '../../src/network/safetensors.ts';
import type { Trigger } from '../../src/trigger/trigger.ts';

beforeAll(openWasm);

const SIDE = 12;
const network = smallCnn({ height: SIDE, width: SIDE, channels: 1 }, ['a', 'b', 'c']);
const victim = initialWeights(network, 1);
const random = randomSource(1, 'test');
/** More than go through a head at once. */
const COUNT = 150;
const images: Dataset = {
  images: Uint8Array.from({ length: COUNT * SIDE * SIDE }, () => random.integer(256)),
  count: COUNT,
  height: SIDE,
  width: SIDE,
  channels: 1,
  labels: Int32Array.from({ length: COUNT }, () => random.integer(3)),
  labelNames: null,
};
const triggerFor = (targetLabel: number): Trigger => {
  return {
    kind: 'additive',
    targetLabel,
    height: SIDE,
    width: SIDE,
    channels: 1,
    pattern: Float32Array.from({ length: SIDE * SIDE }, () => random.integer(100) / 100),
  };
};
const triggers = [triggerFor(2), triggerFor(0), triggerFor(2)];

function expectSame(answers: Logits, wanted: Logits): void {
  expect(answers.length).toBe(wanted.length);
  answers.forEach((row, image) => row.forEach((logit, label) => expect(logit).toBeCloseTo(wanted[image]![label]!, 4)));
}

describe.each(distinctCuts(network))('held-back images, seen at %s', (cut) => {
  const other = headWeights(network, initialWeights(network, 2), cut);
  const purified = mixOf(victim, new Map([...victim, ...other]), 0.7);
  const wholeNetwork = async (
    of: HostWeights,
    dataset: Dataset,
    asked: Int32Array,
    trigger?: Trigger,
  ): Promise<Logits> => {
    const weights = toDevice(of);
    const logits = logitsOf(network, weights, dataset, asked, trigger);
    const rows = await logits.array();
    [logits, ...weights.values()].forEach((tensor) => tensor.dispose());
    return rows;
  };

  test('get the answers of the whole network from its head alone, clean and under triggers, and leave nothing on the device', async () => {
    const tensors = memory().numTensors;
    const heldBack = await seeHeldBack({ network, images, triggers }, victim, cut);
    const clean = await answersToClean(heldBack, purified);
    const stamped = await answersToStamped(heldBack, purified);
    expect(memory().numTensors).toBe(tensors);

    expectSame(heldBack.usual, await wholeNetwork(victim, images, everyIndex(COUNT)));
    expectSame(clean, await wholeNetwork(purified, images, everyIndex(COUNT)));
    const few = selectImages(images, spread(COUNT, 64));
    expect(stamped.map(({ targetLabel }) => targetLabel)).toEqual([2, 2, 0]);
    for (const [index, trigger] of [triggers[0]!, triggers[2]!, triggers[1]!].entries()) {
      const others = indicesWithout(few, trigger.targetLabel);
      expectSame(stamped[index]!.logits, await wholeNetwork(purified, few, others, trigger));
    }
  });
});

test('a trigger that asks for the label of all held-back images is tried on none of them', async () => {
  const own = { ...images, labels: new Int32Array(COUNT).fill(2) };
  const { stamped } = await seeHeldBack({ network, images: own, triggers }, victim, 'flat');
  expect(stamped.map(({ targetLabel }) => targetLabel)).toEqual([0]);
});

test('the mean probability of the true label is that of the metrics', async () => {
  const { usual, labels } = await seeHeldBack({ network, images, triggers }, victim, 'flat');
  const answers = await answersOf(network, victim, images);
  expect(confidenceOf(usual, labels)).toBeCloseTo(cleanMetrics(answers, labels, []).confidence, 5);
});

test('a label whose logit is moved is as likely as a softmax makes it', () => {
  const likely = likelihood(
    [
      [0, Math.log(3)],
      [1, 1],
    ],
    1,
    Math.log(2),
  );
  expect(likely).toBeCloseTo((6 / 7 + 2 / 3) / 2, 6);
});
