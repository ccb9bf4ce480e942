import { grad, mul, sum, tensor4d, tidy, type Tensor4D } from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { beforeAll, expect, test } from 'vitest';
import { openWasm } from '../../offline/engine/wasm.ts';
import { amplitudeOf, stamp, stampPixels, triggerNorm, type Trigger } from '../../src/trigger/trigger.ts';
import { warpImages } from '../../src/trigger/warp.ts';

// Recovery runs on WASM, so its gradients are those to be tested.
beforeAll(openWasm);

const axis = fc.integer({ min: 1, max: 5 });
const cases = fc.tuple(axis, axis, axis, fc.constantFrom(1, 3)).chain(([count, height, width, channels]) => {
  const area = height * width;
  return fc.record({
    shape: fc.constant({ targetLabel: 1, height, width, channels }),
    count: fc.constant(count),
    pixels: fc.uint8Array({ minLength: count * area * channels, maxLength: count * area * channels }),
    flow: fc
      .array(fc.double({ min: -2.5, max: 2.5, noNaN: true }), { minLength: 2 * area, maxLength: 2 * area })
      .map((values) => Float32Array.from(values)),
  });
});

test('a warp of tensors reads the pixels that the warp of 8-bit images reads, whatever the shape and the flow', () => {
  fc.assert(
    fc.property(cases, ({ shape, count, pixels, flow }) => {
      const trigger: Trigger = { ...shape, kind: 'warp', pattern: flow };
      const { height, width, channels } = shape;
      const stamped = tidy(() =>
        stamp(tensor4d(Float32Array.from(pixels), [count, height, width, channels]), trigger).dataSync(),
      );
      stampPixels(pixels, trigger).forEach((value, index) => {
        expect(Math.abs(value - stamped[index]!)).toBeLessThanOrEqual(0.5 + 1e-3);
      });
    }),
  );
});

test('each flow of several bends its own group of images', () => {
  const images = tensor4d([1, 2, 3, 4, 5, 6, 7, 8], [4, 1, 2, 1]);
  const right = [0, 1, 0, 1];
  const flows = tensor4d([...right, 0, 0, 0, 0], [2, 1, 2, 2]);
  expect([...warpImages(images, flows, 1).dataSync()]).toEqual([2, 2, 4, 4, 5, 6, 7, 8]);
});

test('the gradient in the flow is the slope of the image along it', () => {
  const slope = tensor4d(
    Float32Array.from({ length: 25 }, (_, index) => 3 * Math.floor(index / 5) - 2 * (index % 5)),
    [1, 5, 5, 1],
  );
  const flow = tensor4d(
    Float32Array.from({ length: 50 }, (_, index) => 0.2 + 0.01 * index),
    [1, 5, 5, 2],
  );
  const gradient = grad((flows) => sum(warpImages(slope, flows as Tensor4D, 1)))(flow).dataSync();
  // The inner pixels, where no flow points outside.
  for (const pixel of [6, 7, 8, 11, 12, 13, 16, 17, 18]) {
    expect(gradient[2 * pixel]).toBeCloseTo(3, 4);
    expect(gradient[2 * pixel + 1]).toBeCloseTo(-2, 4);
  }
});

test('the size of a warp is how far it points, its norm the mean of both axes over all places', () => {
  const pattern = Float32Array.of(0.5, -1.5, 0, 0);
  const trigger: Trigger = { targetLabel: 0, height: 1, width: 2, channels: 3, kind: 'warp', pattern };
  expect(amplitudeOf(trigger)).toBe(1.5);
  expect(triggerNorm(trigger)).toBe(1);
  const twice = tidy(() => mul(tensor4d(pattern, [1, 1, 2, 2]), 2).dataSync());
  expect(amplitudeOf({ ...trigger, pattern: Float32Array.from(twice) })).toBe(3);
});
