import { expect, test } from 'vitest';
import { randomSource } from '../../offline/engine/random.ts';

/** sfc32 with unbounded integers, written from the C source, and FNV-1a likewise. */
function referenceWords(seed: bigint, purpose: string, count: number): number[] {
  const word = (value: bigint): bigint => BigInt.asUintN(32, value);
  let hash = 2166136261n;
  for (const byte of new TextEncoder().encode(purpose)) hash = word((hash ^ BigInt(byte)) * 16777619n);
  let [a, b, c, counter] = [word(seed), word(seed >> 32n), hash, 1n];
  const words: number[] = [];
  for (let round = 0; round < 15 + count; round++) {
    const output = word(a + b + counter);
    counter += 1n;
    [a, b, c] = [b ^ (b >> 9n), word(c + (c << 3n)), word((word(c << 21n) | (c >> 11n)) + output)];
    words.push(Number(output));
  }
  return words.slice(15);
}

const moments = (values: Float32Array): { mean: number; variance: number } => {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return { mean, variance: values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length };
};

test.each([0, 1, 42, -7, 2 ** 40 + 5])('seed %d gives the words of sfc32 in unbounded integers', (seed) => {
  const source = randomSource(seed, 'a purpose');
  const words = Array.from({ length: 100 }, () => source.integer(2 ** 32));
  expect(words).toEqual(referenceWords(BigInt(seed), 'a purpose', 100));
});

test('the same seed and purpose repeat, another seed or purpose does not', () => {
  const draw = (seed: number, purpose: string): Float32Array => randomSource(seed, purpose).uniform(8);
  expect(draw(3, 'screen')).toEqual(draw(3, 'screen'));
  expect(draw(3, 'screen')).not.toEqual(draw(4, 'screen'));
  expect(draw(3, 'screen')).not.toEqual(draw(3, 'recover'));
  expect(draw(3, 'screen')).not.toEqual(draw(3 + 2 ** 32, 'screen'));
});

test('uniform and normal numbers have the moments of their distributions', () => {
  const uniform = randomSource(1, 'uniform').uniform(100_000);
  expect(Math.min(...uniform.subarray(0, 50_000))).toBeGreaterThanOrEqual(0);
  expect(Math.max(...uniform.subarray(0, 50_000))).toBeLessThan(1);
  expect(moments(uniform).mean).toBeCloseTo(0.5, 2);
  expect(moments(uniform).variance).toBeCloseTo(1 / 12, 2);
  const normal = moments(randomSource(1, 'normal').normal(100_000));
  expect(Math.abs(normal.mean)).toBeLessThan(0.015);
  expect(Math.abs(normal.variance - 1)).toBeLessThan(0.03);
});

test('integers stay below their bound and are even', () => {
  const source = randomSource(9, 'dice');
  const counts = [0, 0, 0, 0, 0, 0];
  for (let throws = 0; throws < 60_000; throws++) counts[source.integer(6)]! += 1;
  for (const count of counts) expect(Math.abs(count - 10_000)).toBeLessThan(500);
  expect(() => source.integer(0)).toThrow('1..2^32');
});

test('a shuffle is a permutation, and every place is reached alike', () => {
  expect([...randomSource(2, 'order').shuffled(1000)].sort((a, b) => a - b)).toEqual([...Array(1000).keys()]);
  const source = randomSource(2, 'first');
  const firsts = [0, 0, 0, 0];
  for (let round = 0; round < 8000; round++) firsts[source.shuffled(4)[0]!]! += 1;
  for (const count of firsts) expect(Math.abs(count - 2000)).toBeLessThan(200);
});

test('a seed that is no whole number is refused', () => {
  expect(() => randomSource(0.5, 'x')).toThrow('whole number');
});
