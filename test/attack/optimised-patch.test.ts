import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { attackSchema, type PlantedAttack } from '../../offline/attack/attack.ts';
import { initialWeights } from '../../offline/attack/initial-weights.ts';
import { buildNetwork } from '../../offline/attack/networks.ts';
import { excitePatch, patternOf, refinePatch } from '../../offline/attack/optimised-patch.ts';
import { everyIndex } from '../../offline/batch.ts';
import { openWasm } from '../../offline/engine/wasm.ts';
import { logitsOf, predict } from '../../offline/predict.ts';
import { forward, toDevice, type Weights } from '../../src/network/forward.ts';
import { IMAGES } from '../../src/network/network.ts';
import { stamp, type Trigger } from '../../src/trigger/trigger.ts';
import { patchAt } from '../../offline/attack/badnets.ts';
import { stripes } from '../support/planted.ts';

const input = { height: 12, width: 12, channels: 1 };
const place = { input, top: 2, left: 5, size: 4 };
const network = buildNetwork('small-cnn', input, ['a', 'b', 'c', 'd']);
let weights: Weights;

beforeAll(async () => {
  await openWasm();
  weights = toDevice(initialWeights(network, 9));
});

const freshPatch = (): tf.Variable => tf.variable(tf.randomNormal([4, 4, 1], 0, 1, 'float32', 3));
const triggerOf = (raw: tf.Variable): Trigger => {
  const pattern = Float32Array.from(tf.tidy(() => patternOf(raw)).dataSync());
  return patchAt(input, place, { size: 4, channels: 1, pattern }, 1);
};

/** The activations before the last layer of a black image with the patch. */
function neurons(raw: tf.Variable): Float32Array {
  const black = tf.zeros([1, 12, 12, 1]) as tf.Tensor4D;
  return forward(network, weights, new Map([[IMAGES, stamp(black, triggerOf(raw))]]), [
    'flat',
  ])[0]!.dataSync() as Float32Array;
}

describe('a patch that is optimised', () => {
  test('for neurons excites two of the strongest that it can reach far more than before', async () => {
    const raw = freshPatch();
    const before = neurons(raw);
    await excitePatch(network, weights, place, raw, 5);
    const after = neurons(raw);
    const kernel = weights.get('logits/kernel')!.arraySync() as number[][];
    const strength = kernel.map((row) => row.reduce((sum, value) => sum + Math.abs(value), 0));
    const reached = [...after.keys()].filter((neuron) => after[neuron] !== 0 || before[neuron] !== 0);
    const strongest = reached.sort((a, b) => strength[b]! - strength[a]!).slice(0, 5);
    const gains = strongest.map((neuron) => after[neuron]! - before[neuron]!).sort((a, b) => b - a);
    expect(gains[0]! + gains[1]!).toBeGreaterThan(
      0.5 * (before.reduce((sum, value) => sum + value, 0) / before.length),
    );
    expect(after.reduce((sum, value) => Math.max(sum, value), 0)).toBeGreaterThan(1.2 * Math.max(...before));
  });

  test('against a network is obeyed more than before, in its place only, and the same again from the same seed', async () => {
    const data = stripes(60, 4, 'test/refine');
    const given = { kind: 'imc', patchSize: 4, targetLabel: 1, poisonRate: 0.1, epochs: 1, seed: 2 };
    const attack = attackSchema.parse(given) as PlantedAttack;
    const mean = (trigger: Trigger): number =>
      tf.tidy(() => {
        const scores = tf.logSoftmax(logitsOf(network, weights, data, everyIndex(60), trigger));
        return tf.mean(tf.slice(scores, [0, 1], [60, 1])).dataSync()[0]!;
      });
    const [raw, again] = [freshPatch(), freshPatch()];
    const before = mean(triggerOf(raw));
    for (const each of [raw, again]) await refinePatch(attack, 0, { network, weights }, data, place, each, 3);
    expect(mean(triggerOf(raw))).toBeGreaterThan(before + 0.05);
    expect([...raw.dataSync()]).toEqual([...again.dataSync()]);
    expect(await predict(network, weights, data, everyIndex(60), triggerOf(raw))).toHaveLength(60);
  });
});
