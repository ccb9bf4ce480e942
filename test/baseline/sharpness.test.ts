import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, expect, test } from 'vitest';
import { job as fineTune, type Tuning } from '../../offline/baseline/fine-tune.ts';
import { job as sharpness, perturbation } from '../../offline/baseline/sharpness.ts';
import { openEngine } from '../../offline/engine/engine.ts';
import { stripes } from '../support/planted.ts';
import { randomModel } from './random-model.ts';

const silent = (): void => {};
let tuning: Tuning;

beforeAll(async () => {
  await openEngine('wasm');
  const images = stripes(64, 1, 'sharpness');
  tuning = { ...randomModel(images, 1), images, steps: 5, peakLearningRate: 0.01, seed: 1 };
});

test('divided by the sizes of the weights, the perturbation of all tensors together has the norm rho', () => {
  const weights = [tf.tensor1d([0.5, -2, 3]), tf.tensor2d([[1, -0.1]])];
  const gradients = [tf.tensor1d([0.3, 0.7, -0.2]), tf.tensor2d([[-1, 4]])];
  const pushed = perturbation(weights, gradients, 2).map((part) => part.dataSync());
  const sizes = weights.map((weight) => weight.dataSync().map(Math.abs));
  const scaled = pushed.flatMap((part, index) => [...part].map((value, at) => value / sizes[index]![at]!));
  expect(Math.hypot(...scaled)).toBeCloseTo(2, 5);
});

test('the perturbation goes uphill, and a weight of zero stays', () => {
  const [pushed] = perturbation([tf.tensor1d([0, -2, 3])], [tf.tensor1d([5, 0.7, -0.2])], 1);
  const [zero, second, third] = pushed!.dataSync();
  expect(zero).toBe(0);
  expect(second).toBeGreaterThan(0);
  expect(third).toBeLessThan(0);
});

test('without a perturbation it is fine-tuning, bit for bit', async () => {
  const flat = await sharpness({ ...tuning, rho: 0 }, silent);
  expect(flat).toEqual(await fineTune(tuning, silent));
  expect(await sharpness({ ...tuning, rho: 0.5 }, silent)).not.toEqual(flat);
});
