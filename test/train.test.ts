import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { openWasm } from '../offline/engine/wasm.ts';
import { crossEntropy, descend, oneCycle, toHost, variablesOf } from '../offline/train.ts';

beforeAll(openWasm);

describe('cross-entropy', () => {
  const number = fc.double({ min: -30, max: 30, noNaN: true });
  const row = fc.record({
    logits: fc.tuple(number, number, number),
    shares: fc.tuple(...[0, 1, 2].map(() => fc.double({ min: 0.01, max: 1, noNaN: true }))),
  });

  test('agrees with its definition, computed one number at a time', () => {
    fc.assert(
      fc.property(fc.array(row, { minLength: 1, maxLength: 6 }), (rows) => {
        const targets = rows.map(({ shares }) => {
          const total = shares.reduce((sum, share) => sum + share, 0);
          return shares.map((share) => share / total);
        });
        let expected = 0;
        rows.forEach(({ logits }, index) => {
          const largest = Math.max(...logits);
          const logSum = largest + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - largest), 0));
          logits.forEach((logit, label) => (expected += (targets[index]![label]! * (logSum - logit)) / rows.length));
        });
        const got = tf.tidy(() => {
          return crossEntropy(tf.tensor2d(rows.map(({ logits }) => logits)), tf.tensor2d(targets)).dataSync()[0]!;
        });
        expect(Math.abs(got - expected)).toBeLessThan(1e-4);
      }),
    );
  });

  test('of uniform answers is the logarithm of the number of labels, whatever the target', () => {
    const loss = crossEntropy(tf.zeros([2, 7]), tf.oneHot(tf.tensor1d([3, 6], 'int32'), 7));
    expect(loss.dataSync()[0]).toBeCloseTo(Math.log(7), 5);
  });
});

describe('the one-cycle learning rate', () => {
  test('rises without a break to its peak at 30 % of the steps, then falls to nearly nothing', () => {
    fc.assert(
      fc.property(fc.integer({ min: 10, max: 500 }), fc.double({ min: 1e-4, max: 1, noNaN: true }), (steps, peak) => {
        const rates = Array.from({ length: steps }, (_, step) => oneCycle(step, steps, peak));
        expect(rates.every((rate) => rate > 0 && rate <= peak)).toBe(true);
        const top = rates.indexOf(Math.max(...rates));
        expect(Math.abs(top - 0.3 * steps)).toBeLessThanOrEqual(1);
        expect(rates[top]!).toBeGreaterThan(0.7 * peak);
        for (let step = 1; step < steps; step++) {
          expect(Math.sign(rates[step]! - rates[step - 1]!)).toBe(step <= top ? 1 : -1);
        }
        // The cosine ends one step before 0: (1 - cos(pi / m)) / 2 with m the steps of the way down.
        expect(rates.at(-1)!).toBeLessThan(peak * (Math.PI / (0.7 * steps)) ** 2);
      }),
    );
  });

  test('has its documented values', () => {
    expect([0, 1, 3, 10].map((step) => oneCycle(step, 10, 8))).toEqual([2, 4, 8, 0]);
    expect(oneCycle(65, 100, 2)).toBeCloseTo(1, 12);
  });
});

describe('descending', () => {
  test('minimises a quadratic and holds no more tensors after the last step than after the first', async () => {
    const x = tf.variable(tf.tensor1d([4, -3, 0]));
    const goal = tf.tensor1d([1, 2, -5]);
    const seen: number[] = [];
    const held: number[] = [];
    await descend({
      variables: [x],
      steps: 200,
      peakLearningRate: 0.05,
      loss: () => tf.sum(tf.square(tf.sub(x, goal))),
      afterStep: (step) => {
        seen.push(step);
        held.push(tf.memory().numTensors);
      },
    });
    (await x.data()).forEach((value, index) => expect(value).toBeCloseTo([1, 2, -5][index]!, 3));
    expect(seen).toEqual(Array.from({ length: 200 }, (_, step) => step));
    expect(held.at(-1)).toBe(held[0]);
  });

  test('follows the recurrence of SGD with momentum 0.9, step by step', async () => {
    const x = tf.variable(tf.scalar(2));
    const path: number[] = [];
    const afterStep = (): void => void path.push(x.dataSync()[0]!);
    await descend({ variables: [x], steps: 12, peakLearningRate: 0.1, loss: () => tf.square(x), afterStep });
    let [value, velocity] = [2, 0];
    for (let step = 0; step < 12; step++) {
      velocity = 0.9 * velocity + 2 * value;
      value -= oneCycle(step, 12, 0.1) * velocity;
      expect(path[step]).toBeCloseTo(value, 5);
    }
  });

  test('takes what it draws for a step as it is then, not as a function of the variables', async () => {
    const x = tf.variable(tf.scalar(2));
    const path: number[] = [];
    await descend({
      variables: [x],
      steps: 12,
      peakLearningRate: 0.1,
      draw: () => tf.square(x),
      loss: (_, drawn) => tf.mul(x, drawn),
      afterStep: () => void path.push(x.dataSync()[0]!),
    });
    let [value, velocity] = [2, 0];
    for (let step = 0; step < 12; step++) {
      velocity = 0.9 * velocity + value ** 2;
      value -= oneCycle(step, 12, 0.1) * velocity;
      expect(path[step]).toBeCloseTo(value, 5);
    }
  });

  test('takes a share of every weight off it, if it is to decay', async () => {
    const x = tf.variable(tf.scalar(2));
    const path: number[] = [];
    const afterStep = (): void => void path.push(x.dataSync()[0]!);
    const loss = (): tf.Scalar => tf.square(x);
    await descend({ variables: [x], steps: 12, peakLearningRate: 0.1, weightDecay: 0.5, loss, afterStep });
    let [value, velocity] = [2, 0];
    for (let step = 0; step < 12; step++) {
      velocity = 0.9 * velocity + 2 * value + 0.5 * value;
      value -= oneCycle(step, 12, 0.1) * velocity;
      expect(path[step]).toBeCloseTo(value, 5);
    }
  });

  test('takes no step by a gradient that is longer than allowed, however long it is, and leaves shorter ones as they are', async () => {
    const [x, y] = [tf.variable(tf.scalar(300)), tf.variable(tf.scalar(-400))];
    const path: [number, number][] = [];
    const afterStep = (): void => void path.push([x.dataSync()[0]!, y.dataSync()[0]!]);
    const loss = (): tf.Scalar => tf.mul(0.5, tf.add(tf.square(x), tf.square(y)));
    const limits = { steps: 30, peakLearningRate: 100, largestNorm: 1 };
    await descend({ variables: [x, y], ...limits, loss, afterStep });
    let [values, velocities] = [
      [300, -400],
      [0, 0],
    ];
    for (let step = 0; step < 30; step++) {
      const factor = Math.min(1, 1 / Math.hypot(...values));
      velocities = velocities.map((velocity, index) => 0.9 * velocity + factor * values[index]!);
      values = values.map((value, index) => value - oneCycle(step, 30, 100) * velocities[index]!);
      values.forEach((value, index) => {
        expect(Math.abs(path[step]![index]! - value)).toBeLessThan(1e-3 * Math.max(1, Math.abs(value)));
      });
    }
  });

  test('goes on from the step and the momentum of an earlier run, to the same weights', async () => {
    const loss = (x: tf.Variable) => (step: number) => tf.square<tf.Scalar>(tf.sub(x, step));
    const run = { steps: 12, peakLearningRate: 0.1 };
    const whole = tf.variable(tf.scalar(2));
    let half: { x: number; momentum: number } | undefined;
    const afterStep = (step: number, [momentum]: readonly tf.Tensor[]): void => {
      if (step === 4) half = { x: whole.dataSync()[0]!, momentum: momentum!.dataSync()[0]! };
    };
    await descend({ ...run, variables: [whole], loss: loss(whole), afterStep });
    const resumed = tf.variable(tf.scalar(half!.x));
    const from = { step: 5, momentum: [tf.scalar(half!.momentum)] };
    await descend({ ...run, variables: [resumed], loss: loss(resumed), from });
    expect(resumed.dataSync()[0]).toBe(whole.dataSync()[0]);
  });

  test('moves no variable that it was not given', async () => {
    const [x, frozen] = [tf.variable(tf.scalar(1)), tf.variable(tf.scalar(3))];
    const loss = (): tf.Scalar => tf.square(tf.mul(x, frozen));
    await descend({ variables: [x], steps: 5, peakLearningRate: 0.01, loss });
    expect(frozen.dataSync()[0]).toBe(3);
    expect(x.dataSync()[0]).not.toBe(1);
  });
});

test('trainable copies leave the original alone and come back to the host with names, shapes and values', async () => {
  const original = new Map([['layer/kernel', tf.tensor2d([[1, 2, 3]])]]);
  const variables = variablesOf(original);
  const copy = variables.get('layer/kernel')!;
  copy.assign(tf.mul(copy, 2));
  expect(await toHost(variables)).toEqual(
    new Map([['layer/kernel', { dtype: 'F32', shape: [1, 3], data: Float32Array.of(2, 4, 6) }]]),
  );
  expect([...original.get('layer/kernel')!.dataSync()]).toEqual([1, 2, 3]);
});
