import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, expect, test } from 'vitest';
import { randomSource } from '../../offline/engine/random.ts';
import { openWasm } from '../../offline/engine/wasm.ts';
import { makeGenerator, NOISE } from '../../offline/recover/generator.ts';

beforeAll(openWasm);

const OUTPUTS = 40;
const base = randomSource(1, 'test/base').normal(OUTPUTS);

test('a new generator gives small variations of its base, a different one for different noise', () => {
  for (const seed of [1, 2, 3]) {
    const random = randomSource(seed, 'test/generator');
    const { generate } = makeGenerator(base, 32, random.normal);
    const noise = tf.tensor2d(random.uniform(16 * NOISE), [16, NOISE]);
    const rows = generate(noise).arraySync();
    const distance = (a: readonly number[], b: ArrayLike<number>): number =>
      Math.sqrt(a.reduce((sum, value, index) => sum + (value - b[index]!) ** 2, 0) / OUTPUTS);
    for (const [first, row] of rows.entries()) {
      expect(distance(row, base)).toBeLessThan(0.3);
      for (const other of rows.slice(first + 1)) expect(distance(row, other)).toBeGreaterThan(0.005);
    }
    expect(generate(noise).arraySync()).toEqual(rows);
  }
});

test('all of a generator learns: every variable has a gradient', () => {
  const random = randomSource(4, 'test/generator');
  const { generate, variables } = makeGenerator(base, 8, random.normal);
  const noise = tf.tensor2d(random.uniform(8 * NOISE), [8, NOISE]);
  const { grads } = tf.variableGrads(() => tf.sum(tf.square(generate(noise))), variables);
  expect(Object.keys(grads).length).toBe(variables.length);
  for (const gradient of Object.values(grads)) {
    expect(tf.max(tf.abs(gradient)).dataSync()[0]).toBeGreaterThan(1e-6);
  }
});

test('every chunk of the noise changes the trigger', () => {
  const random = randomSource(5, 'test/generator');
  const { generate } = makeGenerator(base, 32, random.normal);
  const values = random.uniform(8 * NOISE);
  const before = generate(tf.tensor2d(values, [8, NOISE])).dataSync();
  for (let chunk = 0; chunk < 4; chunk++) {
    const changed = values.map((value, index) =>
      Math.floor((index % NOISE) / (NOISE / 4)) === chunk ? 1 - value : value,
    );
    const after = generate(tf.tensor2d(changed, [8, NOISE])).dataSync();
    expect(Math.max(...after.map((value, index) => Math.abs(value - before[index]!)))).toBeGreaterThan(1e-3);
  }
});
