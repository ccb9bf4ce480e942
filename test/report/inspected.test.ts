import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { GivenInput } from '../../offline/import/imported.ts';
import { openModel } from '../../offline/import/open.ts';
import { formatInspected, inspectedJson } from '../../offline/report/inspected.ts';
import { cutCandidates } from '../../src/network/cuts.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const VICTIM = join(ROOT, 'offline/example/victim');
const MOBILE = join(ROOT, 'test/models/onnx/mobilenetv2.onnx');

async function inspect(path: string, given: GivenInput = {}) {
  const model = await openModel(path, given, 'none');
  if (!model.ok) throw new Error(model.error);
  return { model: model.value, inspected: inspectedJson(model.value) };
}

describe('what inspect says of a model', () => {
  test('names every layer with its shape and costs, and every cut with the features of its guard', async () => {
    const { model, inspected } = await inspect(VICTIM);
    expect(inspected.layers.map(({ name }) => name)).toEqual(model.network.layers.map(({ name }) => name));
    expect(inspected.parameters).toBe(65_994);
    expect(inspected.layers[0]).toEqual({
      name: 'stage1-conv',
      type: 'conv2d',
      output: [28, 28, 16],
      parameters: 160,
      macs: 28 * 28 * 16 * 9,
    });
    expect(inspected.cuts.map(({ cut }) => cut)).toEqual(cutCandidates(model.network));
    expect(inspected.cuts.at(-1)).toMatchObject({ cut: 'flat', features: 576, fits: true });
    expect(inspected).toMatchObject({ format: 'network', input: null });
  });

  test('says of every input setting whether the file, a flag or a guess gave it', async () => {
    const { inspected } = await inspect(MOBILE, { scale: 255, mean: [1, 2, 3] });
    expect(inspected.input).toEqual([
      { name: 'layout', value: 'nchw', origin: 'file' },
      { name: 'channels', value: 'rgb', origin: 'guessed' },
      { name: 'scale', value: 255, origin: 'given' },
      { name: 'mean', value: [1, 2, 3], origin: 'given' },
      { name: 'std', value: [1, 1, 1], origin: 'guessed' },
    ]);
    expect(formatInspected(inspected)).toContain('\n  mean      1, 2, 3  given\n');
  });

  test.each([
    ['short', VICTIM],
    ['long', MOBILE],
  ])('fits 100 columns as text, whether names are short or long: %s', async (_, path) => {
    const { inspected } = await inspect(path);
    const [, ...lines] = formatInspected(inspected).split('\n');
    expect(lines.filter((line) => line.length > 100)).toEqual([]);
    for (const { type } of inspected.layers) expect(lines.some((line) => line.includes(` ${type} `))).toBe(true);
  });

  test('tells where a large model has to be cut to fit an isolate, or that it fits nowhere', async () => {
    const { inspected } = await inspect(VICTIM);
    const [first, second, ...others] = inspected.cuts;
    const large = { ...first!, memoryBytes: 300e6, fits: false };
    const text = (cuts: typeof inspected.cuts): string =>
      formatInspected({ ...inspected, cuts })
        .split('\n')
        .at(-1)!;
    expect(text(inspected.cuts)).toBe(
      'At the edge it takes 25 MB, estimated within 7 %: it fits an isolate of 128 MB wherever it is cut.',
    );
    expect(text([large, second!, ...others])).toBe(
      'At the edge it takes 25 to 300 MB, estimated within 7 %: it fits an isolate of 128 MB if it is cut at stage1-relu or later.',
    );
    expect(text([large])).toBe(
      'At the edge it takes 300 MB, estimated within 7 %: it does not fit an isolate of 128 MB.',
    );
    expect(text([])).toContain('no release can be made');
  });
});
