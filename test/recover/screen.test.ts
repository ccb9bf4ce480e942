import { beforeAll, expect, test } from 'vitest';
import type { Dataset } from '../../offline/data/dataset.ts';
import { randomSource } from '../../offline/engine/random.ts';
import { openWasm } from '../../offline/engine/wasm.ts';
import { job, type ScreenInput } from '../../offline/recover/screen.ts';
import type { Network } from '../../src/network/network.ts';
import type { HostTensor } from '../../src/network/safetensors.ts';
import { triggerNorm } from '../../src/trigger/trigger.ts';
import { normIn, type CoveringForm } from '../../offline/recover/measure.ts';

beforeAll(openWasm);

const SIDE = 6;
const AREA = SIDE * SIDE;
const PIXEL = 14;

/** Logits that are linear in the pixels: label 0 has 0, the others a kernel and a bias each. */
function linear(
  labels: readonly { kernel: (pixel: number) => number; bias: number }[],
): Pick<ScreenInput, 'network' | 'weights'> {
  const units = labels.length;
  const network: Network = {
    schemaVersion: 1,
    input: { height: SIDE, width: SIDE, channels: 1 },
    labelNames: labels.map((_, index) => `label ${index}`),
    layers: [
      { type: 'flatten', name: 'flat', inputs: ['images'] },
      { type: 'dense', name: 'logits', inputs: ['flat'], units, bias: true },
    ],
    output: 'logits',
  };
  const kernel = Float32Array.from({ length: AREA * units }, (_, index) =>
    labels[index % units]!.kernel(Math.floor(index / units)),
  );
  const weights = new Map<string, HostTensor>([
    ['logits/kernel', { dtype: 'F32', shape: [AREA, units], data: kernel }],
    ['logits/bias', { dtype: 'F32', shape: [units], data: Float32Array.from(labels, ({ bias }) => bias) }],
  ]);
  return { network, weights };
}

/** Dark images: pixels of 0 to 25, all of label 0. */
const random = randomSource(1, 'test/screen');
const images: Dataset = {
  images: Uint8Array.from({ length: 32 * AREA }, () => random.integer(26)),
  count: 32,
  height: SIDE,
  width: SIDE,
  channels: 1,
  labels: new Int32Array(32),
  labelNames: null,
};

const constant = { kernel: () => 0, bias: 0 };
const onePixel = { kernel: (pixel: number) => (pixel === PIXEL ? 20 : 0), bias: -10 };
const wholeImage = { kernel: () => 1, bias: -AREA / 2 };
const outOfReach = { kernel: () => 1, bias: -1000 };

test.each(['blend', 'additive'] as const)(
  'screening finds about the smallest trigger that a linear model has, in form %s, at the place where it is',
  async (form) => {
    const model = linear([constant, onePixel, wholeImage]);
    const triggers = await job({ ...model, images, form, targetLabels: [1, 2], steps: 200, seed: 1 }, () => {});
    expect(triggers.map(({ targetLabel }) => targetLabel)).toEqual([1, 2]);
    const [small, large] = triggers.map(triggerNorm);
    const [first] = triggers;
    const values = first!.kind === 'blend' ? first!.mask : first!.pattern;
    expect(values.indexOf(Math.max(...values))).toBe(PIXEL);
    // A pixel of up to 0.1 must be lifted past 0.5; the whole image from 0.05 to 0.5 on average.
    expect(small!).toBeGreaterThan(0.4);
    expect(small!).toBeLessThan(1.6);
    expect(large!).toBeGreaterThan(0.4 * AREA);
    expect(large!).toBeLessThan(0.7 * AREA);
  },
);

test.each(['blend', 'additive'] as const)(
  'a label that no trigger reaches does NOT come out as one with a small trigger, in form %s',
  async (form) => {
    const model = linear([constant, wholeImage, outOfReach]);
    const input = { ...model, images, form, targetLabels: [1, 2], steps: 100, seed: 1 };
    const [reached, unreached] = (await job(input, () => {})).map(triggerNorm);
    expect(unreached!).toBeGreaterThan(reached!);
  },
);

test('dense recovery finds the amplitude at which a linear model yields, and asks for no fewer pixels where one would do', async () => {
  const model = linear([constant, onePixel, wholeImage]);
  const triggers = await job({ ...model, images, form: 'dense', targetLabels: [1, 2], steps: 80, seed: 1 }, () => {});
  expect(triggers.map(({ targetLabel, kind }) => [targetLabel, kind])).toEqual([
    [1, 'additive'],
    [2, 'additive'],
  ]);
  // From about 0.05 to 0.5 for three of four images, and a quarter more; one pixel has as far to go as all of them.
  for (const trigger of triggers) {
    expect(normIn('dense', trigger)).toBeGreaterThan(0.5);
    expect(normIn('dense', trigger)).toBeLessThan(0.75);
  }
  expect(triggers[0]!.pattern[PIXEL]).toBeGreaterThan(0.5);
  expect(triggers[1]!.pattern.filter((value) => value > 0.4).length).toBeGreaterThan(0.9 * AREA);
});

test('smooth recovery reaches what is smooth at the amplitude of dense recovery, and needs far more for fine detail', async () => {
  const checkers = { kernel: (pixel: number) => 2 * ((pixel + Math.floor(pixel / SIDE)) % 2) - 0.9, bias: -AREA / 8 };
  const model = linear([constant, checkers, wholeImage]);
  const sizes = async (form: CoveringForm): Promise<number[]> =>
    (await job({ ...model, images, form, targetLabels: [1, 2], steps: 80, seed: 1 }, () => {})).map((trigger) =>
      normIn(form, trigger),
    );
  const [dense, smooth] = [await sizes('dense'), await sizes('smooth')];
  expect(smooth[1]! / dense[1]!).toBeCloseTo(1, 1);
  expect(smooth[0]! / dense[0]!).toBeGreaterThan(2);
});

test('a smooth trigger varies slowly along rows and columns, whatever the shape of the image', async () => {
  const wide = { ...images, height: SIDE / 2, width: 2 * SIDE };
  const { network, weights } = linear([constant, onePixel]);
  const model = { network: { ...network, input: { height: SIDE / 2, width: 2 * SIDE, channels: 1 } }, weights };
  const [trigger] = await job(
    { ...model, images: wide, form: 'smooth', targetLabels: [1], steps: 40, seed: 1 },
    () => {},
  );
  const at = (row: number, column: number): number => Math.atanh(trigger!.pattern[row * 2 * SIDE + column]!);
  // Two points down and four across: straight lines between them.
  for (let column = 0; column < 2 * SIDE; column++) {
    expect(at(1, column)).toBeCloseTo((at(0, column) + at(2, column)) / 2, 1);
  }
  expect(trigger!.pattern).toHaveLength(AREA);
});

test('warp recovery finds how far an edge must move, and in which direction', async () => {
  // Bright from column 3 on, so that what asks for light in column 2 is reached by reading it from a fraction of a pixel to its right.
  const edges: Dataset = {
    ...images,
    images: Uint8Array.from({ length: 32 * AREA }, (_, index) => (index % SIDE < 3 ? 0 : 190 + random.integer(20))),
  };
  const needed = 0.4;
  const bias = -needed * 10 * SIDE * (200 / 255);
  const model = linear([constant, { kernel: (pixel: number) => (pixel % SIDE === 2 ? 10 : 0), bias }]);
  const [trigger] = await job(
    { ...model, images: edges, form: 'warp', targetLabels: [1], steps: 60, seed: 1 },
    () => {},
  );
  expect(trigger!.kind).toBe('warp');
  // Three of four images, and a quarter more.
  expect(normIn('warp', trigger!)).toBeGreaterThan(needed);
  expect(normIn('warp', trigger!)).toBeLessThan(1.7 * needed);
  const rightwards = trigger!.pattern.filter((_, index) => index % 2 && Math.floor(index / 2) % SIDE === 2);
  expect(rightwards.every((value) => value > 0)).toBe(true);
});

test('the same seed gives the same triggers, another seed others', async () => {
  const model = linear([constant, onePixel, wholeImage]);
  const recover = async (seed: number): Promise<Float32Array[]> =>
    (await job({ ...model, images, form: 'additive', targetLabels: [1, 2], steps: 30, seed }, () => {})).map(
      ({ pattern }) => pattern,
    );
  const first = await recover(1);
  expect(await recover(1)).toEqual(first);
  expect(await recover(2)).not.toEqual(first);
});
