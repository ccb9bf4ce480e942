import * as tf from '@tensorflow/tfjs-core';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { DETECTORS, type DetectorInput } from '../../offline/baseline/detector.ts';
import { correlation } from '../../offline/baseline/image-match.ts';
import { everyIndex, indicesWithout } from '../../offline/batch.ts';
import { selectImages, type Dataset } from '../../offline/data/dataset.ts';
import { loadExample } from '../../offline/demo/example.ts';
import { openEngine } from '../../offline/engine/engine.ts';
import { predict } from '../../offline/predict.ts';
import { auroc } from '../../src/metrics.ts';
import { toDevice } from '../../src/network/forward.ts';
import { decodeSafetensors } from '../../src/network/safetensors.ts';
import { stampPixels, type Trigger } from '../../src/trigger/trigger.ts';

const COUNT = 100;
const VICTIM = join(import.meta.dirname, '..', '..', 'offline', 'example', 'victim');

describe('the detectors on the example', () => {
  let input: DetectorInput;
  let clean: Dataset;
  let triggered: Dataset;

  beforeAll(async () => {
    await openEngine('wasm');
    const example = await loadExample();
    const { targetLabel, victim: model } = example;
    const tensors = decodeSafetensors(await readFile(join(VICTIM, 'trigger.safetensors')));
    if (!tensors.ok) throw new Error(tensors.error);
    const values = (name: string): Float32Array => Float32Array.from(tensors.value.tensors.get(name)!.data);
    const shape = { targetLabel, height: 28, width: 28, channels: 1 };
    const trueTrigger: Trigger = { kind: 'blend', ...shape, mask: values('mask'), pattern: values('pattern') };
    // The true trigger stands for a perfect recovery: these tests are about the detectors.
    input = { model, clean: example.clean, seed: 1, pools: [[trueTrigger]], cut: 'stage3' };
    clean = selectImages(
      example.test,
      Array.from({ length: COUNT }, (_, index) => index),
    );
    const others = selectImages(example.test, indicesWithout(example.test, targetLabel).subarray(-COUNT));
    triggered = { ...others, images: stampPixels(others.images, trueTrigger) };
  });

  test.each(DETECTORS)('$name scores triggered images above clean ones', async ({ name, fit }) => {
    const { score, promised } = await fit(input);
    const [above, below] = [await score(triggered), await score(clean)];
    expect([above.length, below.length]).toEqual([COUNT, COUNT]);
    // Brighter Fashion-MNIST images mostly keep their label, so that SCALE-UP sees little.
    expect(auroc(above, below)).toBeGreaterThan(name === 'scale-up' ? 0.53 : 0.9);
    if (promised) expect(below.filter((value) => value > promised.threshold).length / COUNT).toBeLessThan(0.05);
  });

  test('SCALE-UP counts the brighter copies that keep their label', async () => {
    const { network, weights } = input.model;
    const device = toDevice(weights);
    const labels = ({ images }: Pick<Dataset, 'images'>): Promise<Int32Array> =>
      predict(network, device, { ...clean, images }, everyIndex(COUNT));
    const own = await labels(clean);
    const agreeing = new Float32Array(COUNT);
    for (const scale of [3, 5, 7, 9, 11]) {
      const brighter = clean.images.map((value) => Math.min(255, scale * value));
      (await labels({ images: brighter })).forEach(
        (label, index) => (agreeing[index]! += Number(label === own[index])),
      );
    }
    const { score } = await DETECTORS.find(({ name }) => name === 'scale-up')!.fit(input);
    (await score(clean)).forEach((value, index) => expect(value).toBeCloseTo(agreeing[index]! / 5, 6));
  });

  test.each(DETECTORS)('$name costs the forward passes that it states', async ({ fit, forwardPasses }) => {
    const { score } = await fit(input);
    let scored = 0;
    const { kernels } = await tf.profile(async () => {
      scored = (await score(clean)).length;
      return {};
    });
    expect(scored).toBe(COUNT);
    // Images that went through the first convolution, the only one of one input channel.
    const first = kernels.filter(({ name, inputShapes }) => name.endsWith('Conv2D') && inputShapes[0]!.at(-1) === 1);
    const passed = first.reduce((sum, { inputShapes }) => sum + inputShapes[0]![0]!, 0);
    expect(passed / COUNT).toBe(forwardPasses);
  });
});

describe('matching in image space', () => {
  const pattern = Float32Array.of(0, 1, 1, 0.5, 0.2, 0.9);
  const shape = { targetLabel: 0, height: 2, width: 3, channels: 1, pattern };
  const trigger: Trigger = { kind: 'blend', ...shape, mask: Float32Array.of(1, 1, 1, 1, 0, 0) };

  test('is 1 for the pattern itself at any contrast, -1 for its negative, whatever lies outside of the mask', () => {
    expect(correlation([0, 255, 255, 127.5, 9, 200], trigger)).toBeCloseTo(1, 5);
    expect(correlation([50, 70, 70, 60, 200, 9], trigger)).toBeCloseTo(1, 5);
    expect(correlation([255, 0, 0, 127.5, 9, 200], trigger)).toBeCloseTo(-1, 5);
  });

  test('is 0 where the image is flat', () => {
    expect(correlation([80, 80, 80, 80, 0, 255], trigger)).toBe(0);
  });

  test('of an additive trigger weighs each pixel by what is added there', () => {
    const additive: Trigger = { kind: 'additive', ...shape, pattern: Float32Array.of(0.5, -0.5, 0, 0, 0, 0) };
    expect(correlation([200, 100, 255, 0, 255, 0], additive)).toBeCloseTo(1, 5);
  });
});
