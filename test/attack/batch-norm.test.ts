import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { batchNorm, forwardInTraining, isLearned } from '../../offline/attack/batch-norm.ts';
import { initialWeights } from '../../offline/attack/initial-weights.ts';
import { buildNetwork } from '../../offline/attack/networks.ts';
import { randomSource } from '../../offline/engine/random.ts';
import { openWasm } from '../../offline/engine/wasm.ts';
import { toHost, variablesOf } from '../../offline/train.ts';
import { forward, toDevice } from '../../src/network/forward.ts';
import { IMAGES, weightShapes } from '../../src/network/network.ts';

beforeAll(openWasm);

const EPSILON = 1e-3;

/** <w, gamma (x - mean) / sqrt(variance + epsilon) + beta> in float64, the statistics being those of x [rows,C] itself. */
function reference(x: readonly number[], gamma: readonly number[], beta: readonly number[], w: Float32Array): number {
  const channels = gamma.length;
  const rows = x.length / channels;
  let sum = 0;
  for (let c = 0; c < channels; c++) {
    const values = Array.from({ length: rows }, (_, row) => x[row * channels + c]!);
    const mean = values.reduce((total, value) => total + value, 0) / rows;
    const variance = values.reduce((total, value) => total + (value - mean) ** 2, 0) / rows;
    values.forEach((value, row) => {
      const y = (gamma[c]! * (value - mean)) / Math.sqrt(variance + EPSILON) + beta[c]!;
      sum += y * w[row * channels + c]!;
    });
  }
  return sum;
}

describe('batch norm on the statistics of the batch', () => {
  test.each([[[5, 3]], [[2, 3, 4, 3]]])(
    '%j: its value and gradients are those of finite differences in float64',
    (shape) => {
      const random = randomSource(shape.length, 'test/batch-norm');
      const size = shape.reduce((product, axis) => product * axis, 1);
      const [x, w] = [random.normal(size).map((value) => 2 * value + 1), random.normal(size)];
      const [gamma, beta] = [random.uniform(3).map((value) => value + 0.5), random.normal(3)];
      const loss = (x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor): tf.Scalar =>
        tf.sum(
          tf.mul(
            batchNorm(x, gamma as tf.Tensor1D, beta as tf.Tensor1D, EPSILON, () => {}),
            tf.tensor(w, shape),
          ),
        );
      const { value, grads } = tf.valueAndGrads((...inputs) => loss(...(inputs as [tf.Tensor, tf.Tensor, tf.Tensor])))([
        tf.tensor(x, shape),
        tf.tensor1d(gamma),
        tf.tensor1d(beta),
      ]);
      const inputs = [[...x], [...gamma], [...beta]] as const;
      expect(value.dataSync()[0]).toBeCloseTo(reference(...inputs, w), 4);
      inputs.forEach((values, which) => {
        const got = grads[which]!.dataSync();
        values.forEach((_, index) => {
          const at = (step: number): number => {
            const moved = inputs.map((input, other) =>
              input.map((value, place) => (other === which && place === index ? value + step : value)),
            ) as [number[], number[], number[]];
            return reference(...moved, w);
          };
          expect(got[index]).toBeCloseTo((at(1e-5) - at(-1e-5)) / 2e-5, 3);
        });
      });
    },
  );

  test('moves running averages towards its statistics, until inference answers as training does', () => {
    const network = buildNetwork('resnet8', { height: 8, width: 8, channels: 3 }, ['a', 'b', 'c']);
    const variables = variablesOf(toDevice(initialWeights(network, 3)));
    const images = tf.tensor4d(randomSource(3, 'test/images').uniform(40 * 8 * 8 * 3), [40, 8, 8, 3]);
    const feeds = new Map([[IMAGES, images]]);
    const infer = (): tf.Tensor => forward(network, variables, feeds, [network.output])[0]!;
    const train = (): tf.Tensor => forwardInTraining(network, variables, images).get(network.output)!;
    const difference = (): number => tf.tidy(() => tf.max(tf.abs(tf.sub(infer(), train()))).dataSync()[0]!);
    const before = difference();
    for (let step = 0; step < 150; step++) tf.tidy(() => void train());
    // What is left is the difference between the variance of the batch and that of the images at large, of n/(n-1).
    expect(difference()).toBeLessThan(0.05 * before);
    const [mean] = tf.tidy(() => forward(network, variables, feeds, ['stem/conv']).map((x) => tf.mean(x, [0, 1, 2])));
    const running = variables.get('stem/norm/mean')!.dataSync();
    mean!.dataSync().forEach((value, channel) => expect(running[channel]).toBeCloseTo(value, 4));
  });

  test('keeps nine tenths of a running average, and takes a tenth of the variance of the images at large', async () => {
    const network = buildNetwork('small-vgg', { height: 8, width: 8, channels: 1 }, ['a', 'b']);
    const variables = variablesOf(toDevice(initialWeights(network, 1)));
    const images = tf.tensor4d(randomSource(1, 'test/images').normal(4 * 64), [4, 8, 8, 1]);
    const name = 'stage1/first';
    const convolved = forward(network, variables, new Map([[IMAGES, images]]), [`${name}/conv`])[0]!;
    tf.tidy(() => void forwardInTraining(network, variables, images));
    const [values, after] = [convolved.dataSync(), await toHost(variables)];
    const rows = 4 * 64;
    for (let c = 0; c < 32; c++) {
      const channel = Array.from({ length: rows }, (_, row) => values[row * 32 + c]!);
      const mean = channel.reduce((sum, value) => sum + value, 0) / rows;
      const variance = channel.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (rows - 1);
      expect(after.get(`${name}/norm/mean`)!.data[c]).toBeCloseTo(0.1 * mean, 5);
      expect(after.get(`${name}/norm/variance`)!.data[c]).toBeCloseTo(0.9 + 0.1 * variance, 4);
    }
  });

  test('is learned but for its running averages', () => {
    const network = buildNetwork('small-vgg', { height: 8, width: 8, channels: 1 }, ['a', 'b']);
    const fixed = [...weightShapes(network).keys()].filter((name) => !isLearned(network, name));
    expect(fixed).toEqual(
      network.layers.flatMap(({ type, name }) => (type === 'batchNorm' ? [`${name}/mean`, `${name}/variance`] : [])),
    );
    expect(fixed).toHaveLength(12);
  });
});
