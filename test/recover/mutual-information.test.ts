import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, expect, test } from 'vitest';
import { randomSource } from '../../offline/engine/random.ts';
import { openWasm } from '../../offline/engine/wasm.ts';
import { NOISE } from '../../offline/recover/generator.ts';
import { makeEstimator } from '../../offline/recover/mutual-information.ts';

beforeAll(openWasm);

const BATCH = 64;
const OUTPUTS = 4;

/** The bound on fresh pairs, in nats, after training on pairs whose outputs are the noise's first entries or, if not dependent, other noise's. */
function trainedBound(seed: number, dependent: boolean): number {
  const random = randomSource(seed, 'test/mutual information');
  const estimator = makeEstimator(OUTPUTS, 16, random.normal);
  const optimizer = tf.train.adam(1e-2, 0.5, 0.999);
  const noise = (): tf.Tensor2D => tf.tensor2d(random.uniform(BATCH * NOISE), [BATCH, NOISE]);
  const outputsOf = (z: tf.Tensor2D): tf.Tensor2D =>
    tf.tanh(tf.mul(4, tf.sub(tf.slice(dependent ? z : noise(), [0, 0], [BATCH, OUTPUTS]), 0.5)));
  for (let step = 0; step < 120; step++) {
    tf.tidy(() => {
      const z = noise();
      const [triggers, other] = [outputsOf(z), noise()];
      optimizer.minimize(() => estimator.loss(z, other, triggers), false, estimator.variables);
    });
  }
  const bounds = Array.from({ length: 20 }, () =>
    tf.tidy(() => {
      const z = noise();
      return estimator.bound(z, noise(), outputsOf(z)).dataSync()[0]!;
    }),
  );
  estimator.dispose();
  optimizer.dispose();
  return bounds.reduce((sum, bound) => sum + bound, 0) / bounds.length;
}

test.each([1, 2, 3])(
  'the trained bound is clearly positive for dependent pairs and none for independent ones (seed %i)',
  (seed) => {
    expect(trainedBound(seed, true)).toBeGreaterThan(0.5);
    expect(Math.abs(trainedBound(seed, false))).toBeLessThan(0.05);
  },
);

test('the bound is the Donsker-Varadhan formula: a pair repeated everywhere carries no information', () => {
  const random = randomSource(9, 'test/mutual information');
  const estimator = makeEstimator(OUTPUTS, 16, random.normal);
  const row = random.uniform(NOISE);
  const same = tf.tile(tf.tensor2d(row, [1, NOISE]), [8, 1]);
  const triggers = tf.ones<tf.Rank.R2>([8, OUTPUTS]);
  // T is one constant c here, so that mean T - log mean exp T = c - c.
  expect(Math.abs(estimator.bound(same, same, triggers).dataSync()[0]!)).toBeLessThan(1e-5);
});

test('the loss has the gradient of minus the bound on its first batch, when the moving average is that batch', () => {
  const random = randomSource(10, 'test/mutual information');
  const estimator = makeEstimator(OUTPUTS, 16, random.normal);
  const noise = (): tf.Tensor2D => tf.tensor2d(random.uniform(BATCH * NOISE), [BATCH, NOISE]);
  const [z, other, triggers] = [noise(), noise(), tf.slice(noise(), [0, 0], [BATCH, OUTPUTS])] as const;
  const ofLoss = tf.variableGrads(() => estimator.loss(z, other, triggers), estimator.variables).grads;
  const ofBound = tf.variableGrads(() => estimator.bound(z, other, triggers), estimator.variables).grads;
  for (const { name } of estimator.variables) {
    const sum = tf.add(ofLoss[name]!, ofBound[name]!);
    expect(tf.max(tf.abs(sum)).dataSync()[0]).toBeLessThan(1e-5);
    expect(tf.max(tf.abs(ofLoss[name]!)).dataSync()[0]).toBeGreaterThan(1e-3);
  }
});
