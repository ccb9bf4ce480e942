import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import type { Dataset } from '../offline/data/dataset.ts';
import { loadDataset } from '../offline/data/load.ts';
import { openWasm } from '../offline/engine/wasm.ts';
import { completeDraft, type Draft, type DraftWeight, type GivenInput } from '../offline/import/imported.ts';
import type { OpenedModel } from '../offline/import/open.ts';
import { checkInput, isNearChance } from '../offline/input-check.ts';
import { loadModel, type Model } from '../offline/model.ts';
import type { Layer } from '../src/network/network.ts';
import type { Result } from '../src/result.ts';

const EXAMPLE = join(import.meta.dirname, '..', 'offline/example');

function expectOk<T>(result: Result<T>): T {
  if (!result.ok) throw new Error(result.error);
  return result.value;
}

let victim: Model;
let clean: Dataset;
beforeAll(async () => {
  await openWasm();
  victim = expectOk(await loadModel(join(EXAMPLE, 'victim')));
  clean = expectOk(await loadDataset(join(EXAMPLE, 'clean-500.safetensors')));
});

/** A model as a file would hold it that takes `scale * images - mean` divided by `std`: it turns that back before its first layer. */
function draftOf(
  { network, weights }: Model,
  { scale = 1, mean = 0, std = 1 },
  hints: Partial<Draft['input']> = {},
): Draft {
  const { height, width, channels } = network.input;
  const each = (value: number): number[] => Array.from({ length: channels }, () => value);
  const undo: Layer = {
    type: 'normalize',
    name: 'undo',
    inputs: ['images'],
    mean: each(-mean / std),
    std: each(scale / std),
  };
  const layers = network.layers.map((item): Layer => {
    return { ...item, inputs: item.inputs.map((name) => (name === 'images' ? 'undo' : name)) } as Layer;
  });
  return {
    input: { height, width, channelCount: channels, ...hints },
    layers: [undo, ...layers],
    output: network.output,
    weights: new Map(
      [...weights].map(([name, { shape, data }]): [string, DraftWeight] => [
        name,
        { shape, data: data as Float32Array, from: null },
      ]),
    ),
  };
}

function opened(draft: Draft, given: GivenInput = {}): OpenedModel {
  const { network, weights, input, places } = expectOk(completeDraft(draft, given));
  const imported = { format: 'onnx', file: 'model.onnx', draft, given, places } as const;
  return { network, weights, path: 'model.onnx', source: { format: 'onnx', digest: '', input }, imported };
}

describe('checkInput', () => {
  test('passes a model that sees images as it was trained to', async () => {
    expect(await checkInput(opened(draftOf(victim, {})), clean)).toEqual({ ok: true, value: null });
    const scaled = draftOf(victim, { scale: 255, mean: 127.5, std: 127.5 });
    const given: GivenInput = { scale: 255, mean: [127.5], std: [127.5], channels: 'rgb' };
    expect(await checkInput(opened(scaled, given), clean)).toEqual({ ok: true, value: null });
  });

  test('stops at a model of 0..255 that is given 0..1, and names the flag with the accuracy that it would give', async () => {
    const checked = await checkInput(opened(draftOf(victim, { scale: 255 })), clean);
    const sentence =
      /^model\.onnx: (\d+\.\d) % of the clean images are right, about as by guessing \(10\.0 %\); with --scale 255 it would be (\d+\.\d) %$/;
    const [, now, then] = sentence.exec(checked.ok ? '' : checked.error) ?? [];
    expect(Number(now)).toBeLessThan(20);
    expect(Number(then)).toBeGreaterThan(88);
  });

  test('stops at a mean that was given although the file wants none', async () => {
    const checked = await checkInput(opened(draftOf(victim, {}), { mean: [5] }), clean);
    expect(checked).toMatchObject({
      ok: false,
      error: expect.stringMatching(/; with --mean 0 it would be 9\d\.\d %$/) as string,
    });
  });

  test('remarks that a mean and a deviation would suit the model better, though it does better than guessing without', async () => {
    const draft = draftOf(victim, { mean: 0.5, std: 0.5 });
    const checked = await checkInput(opened(draft), clean);
    expect(checked).toMatchObject({
      ok: true,
      value: expect.stringMatching(/^model\.onnx: .* with --mean 0\.5 --std 0\.5 9\d\.\d %$/) as string,
    });
    const stated = { channels: 'rgb', scale: 1, mean: [0], std: [1] } as const;
    const given = { ...stated, mean: [0], std: [1] };
    expect(await checkInput(opened(draft, given), clean)).toEqual({ ok: true, value: null });
  });

  test('says that no common setting helps when the labels are numbered otherwise', async () => {
    const labels = clean.labels.map((label) => (label + 1) % 10);
    const checked = await checkInput(opened(draftOf(victim, {})), { ...clean, labels });
    expect(checked).toMatchObject({
      ok: false,
      error: expect.stringContaining(
        'no common scale, mean, std or order of channels does better: give --scale',
      ) as string,
    });
  });

  test('lets a model directory pass, whatever it answers', async () => {
    const labels = clean.labels.map((label) => (label + 1) % 10);
    const own = { ...opened(draftOf(victim, {})), imported: null };
    expect(await checkInput(own, { ...clean, labels })).toEqual({ ok: true, value: null });
  });
});

/** Colours 4 x 4: mostly red, green or blue, the label. */
function colours(count: number): Dataset {
  const labels = Int32Array.from({ length: count }, (_, index) => index % 3);
  const images = new Uint8Array(count * 48).map((_, index) => {
    return labels[Math.floor(index / 48)] === index % 3 ? 180 : 40 + ((index * 37) % 60);
  });
  return { images, labels, count, height: 4, width: 4, channels: 3, labelNames: null };
}

test('checkInput tells a file of blue, green, red from one of red, green, blue', async () => {
  const kernel = (order: readonly number[]) =>
    Float32Array.from({ length: 9 }, (_, at) => (order[Math.floor(at / 3)] === at % 3 ? 1 : 0));
  const file = (order: readonly number[]): Draft => ({
    input: { height: 4, width: 4, channelCount: 3, scale: 1 },
    layers: [
      { type: 'globalAveragePool', name: 'mean', inputs: ['images'] },
      { type: 'dense', name: 'logits', inputs: ['mean'], units: 3, bias: false },
    ],
    output: 'logits',
    weights: new Map([['logits/kernel', { shape: [3, 3], data: kernel(order), from: null }]]),
  });
  expect(await checkInput(opened(file([0, 1, 2])), colours(60))).toEqual({ ok: true, value: null });
  expect(await checkInput(opened(file([2, 1, 0])), colours(60))).toEqual({
    ok: false,
    error:
      'model.onnx: 33.3 % of the clean images are right, about as by guessing (33.3 %); with --channels bgr it would be 100.0 %',
  });
});

describe('isNearChance', () => {
  test.each<[number, number, number, boolean]>([
    [0.11, 200, 0.1, true],
    [0.19, 200, 0.1, true],
    [0.25, 200, 0.1, false],
    [0.6, 20, 0.1, false],
    [0.5, 200, 0.5, true],
    [0.54, 2000, 0.5, true],
    [0.65, 200, 0.5, false],
    [0.65, 20, 0.5, true],
    [1, 4, 0.5, true],
    [1, 10, 0.5, false],
    [0.02, 200, 0.01, true],
    [0.08, 200, 0.01, false],
  ])('an accuracy of %s on %s images against a chance of %s: %s', (accuracy, count, chance, near) => {
    expect(isNearChance(accuracy, count, chance)).toBe(near);
  });
});
