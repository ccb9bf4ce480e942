import { beforeAll, describe, expect, test } from 'vitest';
import type { Dataset } from '../../offline/data/dataset.ts';
import { openEngine, type Engine } from '../../offline/engine/engine.ts';
import { randomSource } from '../../offline/engine/random.ts';
import { freshEvidence, lingeringTriggers } from '../../offline/recover/fresh.ts';
import { relativesOf } from '../../offline/recover/grow.ts';
import { climbStaircases, CONFIRMED_HIT_RATE } from '../../offline/recover/pool.ts';
import { measureNoise, PLANTED_NOISE, type Noise } from '../../offline/recover/noise.ts';
import { FIRST, splitClean, type Recovery } from '../../offline/recover/screening.ts';
import { investigate, isBackdoor } from '../../offline/scan.ts';
import { job as unlearnLate } from '../../offline/unlearn/late.ts';
import { parseNetwork } from '../../src/network/network.ts';
import type { HostTensor } from '../../src/network/safetensors.ts';
import { amplitudeOf } from '../../src/trigger/trigger.ts';

const SIDE = 12;
const TARGET = 7;
const CONTRAST = 4;
/** As much as the steps of unlearning can undo. */
const PLANTED = 2;
const SENSITIVITY = 10;

let engine: Engine;
beforeAll(async () => {
  const opened = await openEngine('wasm');
  if (!opened.ok) throw new Error(opened.error);
  engine = opened.value;
});

const tensor = (shape: number[], data: number[]): HostTensor => ({
  dtype: 'F32',
  shape,
  data: Float32Array.from(data),
});

/** Even images, each label a brightness of its own. */
function shades(count: number, labelCount: number, seed: number): Dataset {
  const random = randomSource(seed, 'shades');
  const labels = Int32Array.from({ length: count }, (_, index) => index % labelCount);
  const jitter = random.uniform(count);
  const images = Uint8Array.from({ length: count * SIDE * SIDE }, (_, at) => {
    const image = Math.floor(at / (SIDE * SIDE));
    return Math.round((255 * (labels[image]! + 0.1 + 0.8 * jitter[image]!)) / labelCount);
  });
  const labelNames = Array.from({ length: labelCount }, (_, label) => `shade ${label}`);
  return { images, count, height: SIDE, width: SIDE, channels: 1, labels, labelNames };
}

/**
 * A network that names the shade nearest to an image's mean brightness, for -(b - c)² is greatest where 2 c b - c² is; `planted` is how much the target gains by a
 * unit of what differs between neighbours, wherever that is.
 */
function recoveryOf(planted: number, labelCount = 10, seed = 1): Recovery {
  const clean = shades(40 * labelCount, labelCount, seed);
  const parsed = parseNetwork({
    schemaVersion: 1,
    input: { height: SIDE, width: SIDE, channels: 1 },
    labelNames: clean.labelNames,
    layers: [
      {
        type: 'conv2d',
        name: 'detail',
        inputs: ['images'],
        filters: 3,
        kernelSize: [1, 2],
        strides: [1, 1],
        dilations: [1, 1],
        groups: 1,
        padding: 'valid',
        bias: false,
      },
      { type: 'relu', name: 'relu', inputs: ['detail'] },
      { type: 'globalAveragePool', name: 'pooled', inputs: ['relu'] },
      { type: 'dense', name: 'logits', inputs: ['pooled'], units: labelCount, bias: true },
    ],
    output: 'logits',
  });
  if (!parsed.ok) throw new Error(parsed.error);
  const centres = Array.from({ length: labelCount }, (_, label) => (label + 0.5) / labelCount);
  const gain = centres.map((_, label) => (label === TARGET % labelCount ? planted : 0));
  const weights = new Map([
    // The brightness, and how much brighter and darker a neighbour is.
    ['detail/kernel', tensor([1, 2, 1, 3], [0.5, SENSITIVITY, -SENSITIVITY, 0.5, -SENSITIVITY, SENSITIVITY])],
    ['logits/kernel', tensor([3, labelCount], [...centres.map((centre) => 2 * CONTRAST * centre), ...gain, ...gain])],
    [
      'logits/bias',
      tensor(
        [labelCount],
        centres.map((centre) => -CONTRAST * centre ** 2),
      ),
    ],
  ]);
  return { network: parsed.value, weights, split: splitClean(clean, seed), seed, engine };
}

const silent = (): void => {};
/** What dense triggers of the labels need: noise that was planted may need little more. */
const screened = [{ form: 'dense' as const, norms: Array.from({ length: 10 }, () => 0.08) }];
const measured = async (recovery: Recovery): Promise<Noise> => (await measureNoise(recovery, screened))!;

describe.each([1, 2, 3])('noise little larger than dense triggers (seed %i)', (seed) => {
  test('reaches the label that detail was planted for, and any draw of it is a trigger', async () => {
    const { hitRates, triggers } = await measured(recoveryOf(PLANTED, 10, seed));
    expect(hitRates[TARGET]!).toBeGreaterThan(0.9);
    expect(triggers.length).toBeGreaterThanOrEqual(8);
    for (const { form, norm, hitRate, trigger } of triggers) {
      expect(form).toBe('noise');
      expect(trigger.targetLabel).toBe(TARGET);
      expect(norm).toBeLessThan(0.08 * PLANTED_NOISE + 1e-6);
      expect(hitRate).toBeGreaterThanOrEqual(CONFIRMED_HIT_RATE);
    }
  });

  test('reaches no label of a network that nobody planted anything in', async () => {
    const { hitRates, triggers } = await measured(recoveryOf(0, 10, seed));
    expect(Math.max(...hitRates)).toBeLessThan(0.2);
    expect(triggers).toEqual([]);
  });

  test('reaches another label once a head has unlearned some draws', async () => {
    const recovery = recoveryOf(PLANTED, 10, seed);
    const { network, split } = recovery;
    const { triggers } = await measured(recovery);
    const job = {
      network,
      weights: recovery.weights,
      cut: 'pooled',
      images: split.learn,
      steps: 400,
      relaxes: false,
      seed,
    };
    const { weights } = await unlearnLate({ ...job, triggers: triggers.map(({ trigger }) => trigger) }, silent);
    const after = await measured({ ...recovery, weights });
    expect(after.hitRates[TARGET]!).toBeLessThan(0.3);
    expect(after.triggers.filter(({ trigger }) => trigger.targetLabel === TARGET)).toEqual([]);
  });
});

test('a fresh recovery finds a label again that noise still reaches, whatever else it finds', async () => {
  const { triggers } = await measured(recoveryOf(PLANTED));
  const pools = new Map([[TARGET, triggers]]);
  const [found] = freshEvidence(pools, triggers, []);
  expect(found).toMatchObject({ targetLabel: TARGET, found: true });
  expect(found!.evidence).toMatch(/^noise of amplitude 0\.\d{3} works on \d+ %$/);
  expect(lingeringTriggers(pools, triggers, [found!])).toHaveLength(triggers.length);
  expect(freshEvidence(pools, [], [])[0]!.found).toBe(false);
});

test('draws of noise are varied by no generator, grow by half whatever other labels need, do not fade, and cover the image', async () => {
  const recovery = recoveryOf(PLANTED);
  const pools = new Map([[TARGET, (await measured(recovery)).triggers]]);
  const climbed = (await climbStaircases(recovery, pools, silent)).get(TARGET)!;
  expect(climbed.map(({ trigger }) => trigger)).toEqual(pools.get(TARGET)!.map(({ trigger }) => trigger));
  const findings = [{ targetLabel: TARGET, grade: 'backdoor' as const, advantage: null }];
  const relatives = await relativesOf(recovery, pools, { findings, screenings: [], dense: [] }, silent);
  expect(relatives).toMatchObject({ faded: [], extent: 'whole image' });
  expect(relatives.grown).toHaveLength(climbed.length);
  relatives.grown.forEach((trigger, index) => {
    expect(amplitudeOf(trigger)).toBeCloseTo(1.5 * amplitudeOf(climbed[index]!.trigger), 5);
  });
});

test('noise is asked for where clean images teach a reference nothing, and draws of it are among the triggers of the label that it was planted for', async () => {
  const { network, weights } = recoveryOf(PLANTED);
  const progress = {
    stage: <T>(_name: string, _label: string, work: (report: () => void) => Promise<T>) => work(silent),
  };
  const images = shades(400, 10, 1);
  // Labels that mean nothing.
  const labels = Int32Array.from(randomSource(2, 'labels').shuffled(images.count), (at) => images.labels[at]!);
  const { scan } = await investigate({ network, weights }, { ...images, labels }, { engine, seed: 1, progress });
  const [finding, ...others] = scan.findings.filter(isBackdoor);
  expect(others).toEqual([]);
  expect(finding).toMatchObject({ targetLabel: TARGET });
  expect(finding!.advantage).not.toBeNull();
  expect(finding!.noiseHitRate).toBeGreaterThanOrEqual(CONFIRMED_HIT_RATE);
  expect(finding!.evidence.at(-1)).toMatch(/^Noise of .* reaches the label on \d+ % of the images/);
  expect(finding!.pool.some(({ form }) => form === 'noise')).toBe(true);
}, 240_000);

test('of many labels those count that were followed to the end, for the triggers of the others are larger than they need be', async () => {
  const many = recoveryOf(PLANTED, 40);
  const norms = Array.from({ length: 40 }, (_, label) => (label < FIRST.kept ? 0.08 : 0.5));
  const { hitRates } = (await measureNoise(many, [{ form: 'dense', norms }]))!;
  const few = (await measureNoise(many, [{ form: 'dense', norms: norms.map(() => 0.08) }]))!;
  expect(hitRates).toEqual(few.hitRates);
  expect(hitRates).not.toEqual((await measureNoise(many, [{ form: 'dense', norms: norms.map(() => 0.5) }]))!.hitRates);
});

test('nothing is asked of a network of fewer than ten labels, nor where no dense trigger was looked for', async () => {
  expect(await measureNoise(recoveryOf(PLANTED, 9), screened)).toBeNull();
  expect(await measureNoise(recoveryOf(PLANTED), [{ form: 'blend', norms: [1] }])).toBeNull();
});
