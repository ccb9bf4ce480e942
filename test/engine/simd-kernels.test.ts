import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { randomSource } from '../../offline/engine/random.ts';
import { openWasm } from '../../offline/engine/wasm.ts';

beforeAll(openWasm);

const run = (values: readonly number[], operation: (x: tf.Tensor1D) => tf.Tensor): Float32Array =>
  tf.tidy(() => operation(tf.tensor1d([...values])).dataSync() as Float32Array);

describe('SIMD kernels', () => {
  test('ELU is exp(x) - 1 below zero to four units of the last place, and x above, for any count of numbers', () => {
    fc.assert(
      fc.property(fc.array(fc.float({ noNaN: true }), { maxLength: 11 }), (values) => {
        run(values, tf.elu).forEach((got, index) => {
          const x = values[index]!;
          const expected = x > 0 ? x : Math.expm1(x);
          if (!Number.isFinite(x)) return expect(got).toBe(expected);
          expect(Math.abs(got - expected)).toBeLessThanOrEqual(2 ** -21 * Math.abs(expected) + 2 ** -149);
        });
      }),
      { numRuns: 2000, examples: [[[-17.4, -17.3, -88, -1e30, 0, -0, 1e-30, -1e-30, 3.5]]] },
    );
  });

  test('ELU of what is not a number is not a number', () => {
    expect(run([Number.NaN, 1, Number.NaN, 2, Number.NaN], tf.elu)).toEqual(
      Float32Array.of(Number.NaN, 1, Number.NaN, 2, Number.NaN),
    );
  });

  test("ELU's gradient is 1 above zero and exp(x) below, for any count of numbers", () => {
    for (let count = 1; count < 12; count++) {
      const values = [...randomSource(count, 'elu').normal(count)];
      const got = run(values, (x) => tf.grad((input: tf.Tensor) => tf.elu(input))(x));
      got.forEach((slope, index) => expect(slope).toBeCloseTo(Math.min(1, Math.exp(values[index]!)), 5));
    }
  });

  test('a row is added to every row of any length, and what broadcasts otherwise is as before', () => {
    const shapes: [number[], number[]][] = [
      [[5, 3], [3]],
      [[2, 3, 8], [8]],
      [[2, 3, 4, 7], [7]],
      [[3, 1], [4]],
      [[4], [2, 4]],
      [[2, 3], [1]],
      [[4], [4]],
    ];
    for (const [left, right] of shapes) {
      const sum = (backend: string): Float32Array => {
        void tf.setBackend(backend);
        const values = randomSource(5, left.join());
        const tensors = [left, right].map((shape) => tf.tensor(values.normal(tf.util.sizeFromShape(shape)), shape));
        return tf.tidy(() => tf.add(tensors[0]!, tensors[1]!).dataSync() as Float32Array);
      };
      const expected = sum('cpu');
      expect(sum('wasm'), `${left.join()} + ${right.join()}`).toEqual(expected);
    }
  });
});
