import fc from 'fast-check';
import { expect, test } from 'vitest';
import { dequantize, quantize } from '../src/quantize.ts';

const vectors = fc.float32Array({ minLength: 1, maxLength: 64, noNaN: true, min: -1000, max: 1000 });

test('every value comes back at most half a step away, and the largest exactly', () => {
  fc.assert(
    fc.property(vectors, (vector) => {
      const quantized = quantize(vector);
      const back = dequantize(quantized);
      const largest = Math.max(...vector.map(Math.abs));
      vector.forEach((value, index) => {
        expect(Math.abs(value - back[index]!)).toBeLessThanOrEqual((quantized.scale / 2) * 1.001 + 1e-6 * largest);
      });
      expect(Math.max(...back.map(Math.abs))).toBeCloseTo(largest, 3);
    }),
  );
});

test('a vector of zeros stays one', () => {
  expect(dequantize(quantize(new Float32Array(3)))).toEqual(new Float32Array(3));
});

test('the score of a probe moves by no more than half a step times its weights, and in practice by far less', () => {
  let state = 1;
  const random = (): number => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
  const errors: number[] = [];
  for (let trial = 0; trial < 200; trial += 1) {
    // Pooled activations behind a relu: positive, with some large maxima; a probe of weights around zero.
    const features = Float32Array.from(
      { length: 256 },
      (_, index) => (index < 128 ? 1 : 4) * Math.max(0, random() - 0.3),
    );
    const weights = Float32Array.from(features, () => random() - 0.5);
    const score = (vector: Float32Array): number =>
      vector.reduce((sum, value, index) => sum + value * weights[index]!, 0);
    const quantized = quantize(features);
    const error = Math.abs(score(features) - score(dequantize(quantized)));
    const bound = (quantized.scale / 2) * weights.reduce((sum, weight) => sum + Math.abs(weight), 0);
    expect(error).toBeLessThanOrEqual(bound + 1e-4);
    errors.push(error);
  }
  expect(Math.max(...errors)).toBeLessThan(0.15);
});
