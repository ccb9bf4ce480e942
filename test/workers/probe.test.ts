import '@tensorflow/tfjs-backend-cpu';
import { setBackend, tensor, tensor1d, tensor2d, tidy, type Tensor } from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { beforeAll, expect, test } from 'vitest';
import { poolActivations, probeLogits } from '../../src/trigger/match.ts';
import { poolFeatures, probeScores } from '../../workers/probe.ts';

beforeAll(() => setBackend('cpu'));

const axis = fc.integer({ min: 1, max: 4 });
const shapes = fc.oneof(fc.tuple(axis, axis, axis, axis), fc.tuple(axis, axis));
const values = (length: number, seed: number): Float32Array =>
  Float32Array.from({ length }, (_, index) => 3 * Math.sin(1 + index * seed));

test('the plain loops give the scores of the tfjs kernels, for any shape of activations and any number of triggers', () => {
  fc.assert(
    fc.property(shapes, axis, fc.integer({ min: 1, max: 1000 }), (shape, triggers, seed) => {
      const [count, channels] = [shape[0], shape.at(-1)!];
      const size = shape.reduce((product, length) => product * length, 1);
      const features = shape.length === 2 ? channels : 2 * channels;
      const [activations, weights, bias] = [values(size, seed), values(features * triggers, 2), values(triggers, 3)];
      const expected = tidy(() => {
        const pooled = poolActivations(tensor(activations, shape) as Tensor);
        return probeLogits(pooled, tensor2d(weights, [features, triggers]), tensor1d(bias)).dataSync();
      });
      const pooled = poolFeatures(activations, count, channels, shape.length === 2);
      const scores = pooled.map((row) => probeScores(row, weights, bias));
      const flat = scores.flatMap((row) => Array.from(row));
      expect(flat.length).toBe(expected.length);
      flat.forEach((score, index) => expect(Math.abs(score - expected[index]!)).toBeLessThan(1e-4));
    }),
  );
});

test('one value that is not a finite number makes no finite score, whatever its weight', () => {
  for (const value of [Number.NaN, Infinity, -Infinity]) {
    const activations = Float32Array.of(1, 1, value, 1, 1, 1);
    const [features] = poolFeatures(activations, 1, 2, false);
    const [score] = probeScores(features!, new Float32Array(4), new Float32Array(1));
    expect(Number.isFinite(score)).toBe(false);
  }
});
