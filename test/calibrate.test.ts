import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { everyIndex } from '../offline/batch.ts';
import { calibrate, scoreImages, thresholdOf, type CalibrationInput } from '../offline/calibrate.ts';
import { selectImages, type Dataset } from '../offline/data/dataset.ts';
import { randomSource, type RandomSource } from '../offline/engine/random.ts';
import { openWasm } from '../offline/engine/wasm.ts';
import { toDevice } from '../src/network/forward.ts';
import type { Network } from '../src/network/network.ts';
import type { HostTensor } from '../src/network/safetensors.ts';
import { pValue } from '../src/trigger/match.ts';
import type { Trigger } from '../src/trigger/trigger.ts';

beforeAll(openWasm);

describe('the threshold', () => {
  // Few distinct values, so that ties are common.
  const scores = fc
    .array(fc.integer({ min: -30, max: 30 }), { minLength: 1, maxLength: 300 })
    .map((values) => Float32Array.from(values).toSorted());
  const rates = fc.constantFrom(0.005, 0.01, 0.03, 0.05, 0.1, 0.25, 0.5);

  test('flags only inputs whose p-value is at most the rate, on any scores that can meet it', () => {
    fc.assert(
      fc.property(scores, rates, (calibration, rate) => {
        fc.pre(rate * (calibration.length + 1) >= 1);
        const { threshold } = thresholdOf(calibration, rate);
        for (let score = -31; score <= 31; score += 0.5) {
          if (score > threshold) expect(pValue(score, calibration)).toBeLessThanOrEqual(rate + 1e-12);
        }
      }),
    );
  });

  test('is the lowest such one: without ties an input is flagged exactly when its p-value is at most the rate', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 400 }), rates, (size, rate) => {
        fc.pre(rate * (size + 1) >= 1);
        const calibration = Float32Array.from({ length: size }, (_, index) => index);
        const { threshold } = thresholdOf(calibration, rate);
        for (let score = -0.5; score <= size; score += 1) {
          expect(score > threshold).toBe(pValue(score, calibration) <= rate + 1e-12);
        }
      }),
    );
  });

  test('flags no more calibration scores than the rate allows, and the bound lies above the share that it flags', () => {
    fc.assert(
      fc.property(scores, rates, (calibration, rate) => {
        const { threshold, falsePositiveBound } = thresholdOf(calibration, rate);
        const flagged = calibration.filter((score) => score > threshold).length / calibration.length;
        expect(flagged).toBeLessThanOrEqual(rate);
        expect(falsePositiveBound.upper).toBeGreaterThan(flagged);
        expect(falsePositiveBound).toMatchObject({ confidence: 0.95, sampleSize: calibration.length });
      }),
    );
  });

  test('is the largest score when there are too few images for the rate, and the bound says so', () => {
    const calibration = Float32Array.from({ length: 99 }, (_, index) => index);
    const { threshold, falsePositiveBound } = thresholdOf(calibration, 0.005);
    expect(threshold).toBe(98);
    // No false positive among n: the exact bound is 1 - 0.05^(1/n).
    expect(falsePositiveBound.upper).toBeCloseTo(1 - 0.05 ** (1 / 99), 9);
    expect(falsePositiveBound.upper).toBeGreaterThan(5 * 0.005);
  });
});

const SIDE = 4;
const FEATURES = 6;
const network: Network = {
  schemaVersion: 1,
  input: { height: SIDE, width: SIDE, channels: 1 },
  labelNames: ['a', 'b', 'c'],
  layers: [
    { type: 'flatten', name: 'flat', inputs: ['images'] },
    { type: 'dense', name: 'features', inputs: ['flat'], units: FEATURES, bias: false },
    { type: 'dense', name: 'logits', inputs: ['features'], units: 3, bias: false },
  ],
  output: 'logits',
};

/** A pixel that is so many spreads brighter than grey. */
const greyAnd = (spreads: number, contrast: number): number => Math.min(255, Math.max(0, 128 + contrast * spreads));

function normalKernel(random: RandomSource, inputs: number, outputs: number): HostTensor {
  return { dtype: 'F32', shape: [inputs, outputs], data: random.normal(inputs * outputs) };
}

/** Images of normal pixels, a random linear trunk, so that its features are normal too, and a trigger too weak to tell apart fully. */
function gaussian(seed: number): { input: CalibrationInput; fresh: Dataset } {
  const random = randomSource(seed, 'test/calibrate');
  const images = (count: number): Dataset => ({
    images: Uint8Array.from(random.normal(count * SIDE * SIDE), (value) => greyAnd(value, 30)),
    labels: Int32Array.from({ length: count }, (_, index) => index % 3),
    count,
    height: SIDE,
    width: SIDE,
    channels: 1,
    labelNames: null,
  });
  const weights = new Map([
    ['features/kernel', normalKernel(random, SIDE * SIDE, FEATURES)],
    ['logits/kernel', normalKernel(random, FEATURES, 3)],
  ]);
  const trigger = (targetLabel: number): Trigger => {
    const pattern = random.normal(SIDE * SIDE).map((value) => 0.1 * value);
    return { kind: 'additive', targetLabel, height: SIDE, width: SIDE, channels: 1, pattern };
  };
  const pools = [[trigger(0), trigger(0)], [trigger(2)]];
  const input = { network, weights, cut: 'features', images: images(200), pools, falsePositiveRate: 0.05, seed };
  return { input, fresh: images(4000) };
}

/** Images of which every 33rd has ten times the contrast, as many features as a small VGG has, and a faint trigger. */
function uneven(seed: number): CalibrationInput {
  const [side, features, count] = [8, 2000, 400];
  const random = randomSource(seed, 'test/uneven');
  const pixels = random
    .normal(count * side * side)
    .map((value, index) => greyAnd(value, Math.floor(index / (side * side)) % 33 ? 9 : 90));
  const shape = { height: side, width: side, channels: 1 };
  const images = { ...shape, images: Uint8Array.from(pixels), labels: new Int32Array(count), count, labelNames: null };
  const wide: Network = {
    ...network,
    input: shape,
    layers: [
      { type: 'flatten', name: 'flat', inputs: ['images'] },
      { type: 'dense', name: 'seen', inputs: ['flat'], units: features, bias: false },
      { type: 'relu', name: 'features', inputs: ['seen'] },
      { type: 'dense', name: 'logits', inputs: ['features'], units: 3, bias: false },
    ],
  };
  const weights = new Map([
    ['seen/kernel', normalKernel(random, side * side, features)],
    ['logits/kernel', normalKernel(random, features, 3)],
  ]);
  const pattern = random.normal(side * side).map((value) => 0.02 * value);
  const pools: Trigger[][] = [[{ kind: 'additive', targetLabel: 1, ...shape, pattern }]];
  return { network: wide, weights, cut: 'features', images, pools, falsePositiveRate: 0.05, seed };
}

describe('calibration', () => {
  test('gives the false-positive rate that was asked for on fresh images, within its own bound', async () => {
    const seeds = [1, 2, 3];
    const measured: number[] = [];
    let beyond = 0;
    for (const seed of seeds) {
      const { input, fresh } = gaussian(seed);
      const { probes, threshold, scores, falsePositiveBound } = await calibrate(input);
      expect(probes.map(({ weights }) => weights.length)).toEqual([FEATURES, FEATURES]);
      expect(scores).toEqual(scores.toSorted());
      expect({ threshold, falsePositiveBound, scores }).toEqual(thresholdOf(scores, 0.05));
      const onFresh = await scoreImages(network, toDevice(input.weights), 'features', probes, fresh);
      const rate = onFresh.filter((score) => score > threshold).length / fresh.count;
      measured.push(rate);
      if (rate > falsePositiveBound.upper) beyond += 1;
    }
    // With 200 calibration images the rate of one seed has a standard deviation of 0.0154; three of the mean of three.
    const mean = measured.reduce((sum, rate) => sum + rate, 0) / seeds.length;
    expect(Math.abs(mean - 0.05)).toBeLessThan((3 * 0.0154) / Math.sqrt(3));
    // Each bound fails with a chance of 5 %.
    expect(beyond).toBeLessThanOrEqual(1);
  });

  test('fits probes that score stamped images higher than clean ones, each for its own trigger', async () => {
    const { input, fresh } = gaussian(7);
    const { probes } = await calibrate(input);
    const device = toDevice(input.weights);
    const mean = async (probe: number, trigger?: Trigger): Promise<number> => {
      const scores = await scoreImages(network, device, 'features', [probes[probe]!], fresh, trigger);
      return scores.reduce((sum, score) => sum + score, 0) / scores.length;
    };
    for (const [index, pool] of input.pools.entries()) {
      const clean = await mean(index);
      expect(clean).toBeLessThan(0);
      for (const trigger of pool) expect(await mean(index, trigger)).toBeGreaterThan(clean + 0.5);
    }
  });

  test('scores an image as its largest probe does', async () => {
    const { input, fresh } = gaussian(8);
    const { probes } = await calibrate(input);
    const device = toDevice(input.weights);
    const score = (chosen: typeof probes): Promise<Float32Array> =>
      scoreImages(network, device, 'features', chosen, fresh);
    const [first, second, both] = [await score([probes[0]!]), await score([probes[1]!]), await score(probes)];
    expect(both).toEqual(first.map((value, index) => Math.max(value, second[index]!)));
    expect(both).not.toEqual(first);
    expect(both).not.toEqual(second);
  });

  test('a feature that the trigger faintly moves, and that one clean image has by nature, does not set the threshold', async () => {
    const { input, fresh } = gaussian(10);
    const darken = (images: Dataset): Dataset => {
      const pixels = images.images.map((value, index) => (index % (SIDE * SIDE) ? value : 0));
      return { ...images, images: pixels };
    };
    const images = darken(input.images);
    images.images[0] = 200;
    const pattern = new Float32Array(SIDE * SIDE);
    pattern.set([1 / 255, 0.5, 0.5, 0.5, 0.5]);
    const trigger: Trigger = { ...input.pools[1]![0]!, kind: 'additive', pattern };
    const { probes, threshold } = await calibrate({
      ...input,
      cut: 'flat',
      images,
      pools: [[trigger]],
      falsePositiveRate: 0.005,
    });
    const stamped = selectImages(darken(fresh), everyIndex(500));
    const scores = await scoreImages(network, toDevice(input.weights), 'flat', probes, stamped, trigger);
    expect(scores.filter((score) => score > threshold).length).toBeGreaterThan(490);
  });

  test('scores every image with probes that did not see it: another image in its place leaves those held back with it alone', async () => {
    const { input, fresh } = gaussian(9);
    const images = selectImages(input.images, everyIndex(40));
    const single = { ...input, images, pools: [input.pools[1]!] };
    const pixels = images.images.slice();
    pixels.set(fresh.images.subarray(0, SIDE * SIDE), 7 * SIDE * SIDE);
    const before = (await calibrate(single)).scores;
    const after = (await calibrate({ ...single, images: { ...images, images: pixels } })).scores;
    // Eight images a fold: seven keep their scores to the bit, the probes of the other folds have seen the change.
    expect(after.filter((score) => before.includes(score)).length).toBe(7);
  });

  test.each([1, 2, 3])(
    'fits to the end where a few images have ten times the contrast of the others (seed %i)',
    async (seed) => {
      const input = uneven(seed);
      const [trigger] = input.pools[0]!;
      const { probes } = await calibrate(input);
      const device = toDevice(input.weights);
      const lossOf = async (sign: number, stamped?: Trigger): Promise<number> => {
        const scores = await scoreImages(input.network, device, input.cut, probes, input.images, stamped);
        return scores.reduce((sum, score) => sum + Math.log1p(Math.exp(sign * score)), 0) / scores.length;
      };
      const loss = ((await lossOf(1)) + (await lossOf(-1, trigger))) / 2;
      expect(loss).toBeLessThan(0.02);
    },
  );

  test('gives no weight to a feature that never varies', async () => {
    const { input } = gaussian(10);
    const images = selectImages(input.images, everyIndex(60));
    const dark = images.images.map((value, index) => (index % (SIDE * SIDE) === 5 ? 0 : value));
    const [trigger] = input.pools[1]!;
    const pattern = trigger!.pattern.map((value, index) => (index === 5 ? 0 : value));
    const pools: Trigger[][] = [[{ ...trigger!, kind: 'additive', pattern }]];
    const { probes } = await calibrate({ ...input, cut: 'flat', images: { ...images, images: dark }, pools });
    const { weights } = probes[0]!;
    expect([...weights.keys()].filter((feature) => weights[feature] === 0)).toEqual([5]);
  });

  test('follows from its seed', async () => {
    const { input } = gaussian(8);
    const small = { ...input, images: selectImages(input.images, everyIndex(60)), pools: [input.pools[1]!] };
    expect(await calibrate(small)).toEqual(await calibrate(small));
  });
});
