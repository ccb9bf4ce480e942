import { beforeAll, expect, test } from 'vitest';
import { job as fineTune } from '../../offline/baseline/fine-tune.ts';
import { choosePruning, pruningMask, pruningPlace, quietestFirst } from '../../offline/baseline/prune.ts';
import { everyIndex } from '../../offline/batch.ts';
import { openEngine } from '../../offline/engine/engine.ts';
import type { Model } from '../../offline/model.ts';
import { logitsOf } from '../../offline/predict.ts';
import { splitClean } from '../../offline/recover/screening.ts';
import { toDevice } from '../../src/network/forward.ts';
import type { HostTensor, HostWeights } from '../../src/network/safetensors.ts';
import { stripes } from '../support/planted.ts';
import { randomModel } from './random-model.ts';

const PLACE = { node: 'stage4-relu', channels: 64, kernel: 'logits/kernel' };
const images = stripes(60, 1, 'prune');
const { network, weights } = randomModel(images, 1);

beforeAll(async () => {
  await openEngine('wasm');
});

const logits = ({ network, weights }: Model): Float32Array => {
  const answers = logitsOf(network, toDevice(weights), images, everyIndex(images.count));
  return answers.dataSync<'float32'>();
};

const masked = (weights: HostWeights, mask: HostTensor): HostWeights => {
  const kernel = weights.get(PLACE.kernel)! as HostTensor & { data: Float32Array };
  const data = kernel.data.map((value, index) => value * mask.data[index]!);
  return new Map([...weights, [PLACE.kernel, { ...kernel, dtype: 'F32', data }]]);
};

/** The network with chosen channels of the last convolution silenced themselves: kernel and bias zero. */
function silenced(channels: readonly number[]): HostWeights {
  const silence = (name: string): [string, HostTensor] => {
    const { shape, data } = weights.get(name)!;
    const zeroed = Float32Array.from(data, (value, index) => (channels.includes(index % 64) ? 0 : value));
    return [name, { dtype: 'F32', shape, data: zeroed }];
  };
  return new Map([...weights, silence('stage4-conv/kernel'), silence('stage4-conv/bias')]);
}

test('the channels behind the last convolution are pruned where the dense layer reads them', () => {
  expect(pruningPlace(network)).toEqual(PLACE);
});

test('pruning no channel changes nothing', () => {
  expect(masked(weights, pruningMask(PLACE, weights, []))).toEqual(weights);
});

test('pruning channels is as good as silencing them in the convolution', () => {
  const pruned = [3, 17, 40];
  const left = logits({ network, weights: masked(weights, pruningMask(PLACE, weights, pruned)) });
  const right = logits({ network, weights: silenced(pruned) });
  left.forEach((value, index) => expect(value).toBeCloseTo(right[index]!, 4));
  expect(left).not.toEqual(logits({ network, weights }));
});

test('channels that never fire come first', async () => {
  const before = await quietestFirst({ network, weights }, PLACE.node, images);
  expect(before.toSorted((a, b) => a - b)).toEqual([...Array(64).keys()]);
  const loudest = before.slice(-3);
  const quiet = before.slice(0, -3);
  const after = await quietestFirst({ network, weights: silenced(quiet) }, PLACE.node, images);
  expect(after.slice(-3)).toEqual(loudest);
});

test('what was pruned stays pruned while the rest is fine-tuned', async () => {
  const split = splitClean(images, 1);
  const mask = await choosePruning({ network, weights }, PLACE, split);
  expect(mask.data.includes(0)).toBe(true);
  const tuning = {
    network,
    weights: masked(weights, mask),
    images: split.learn,
    steps: 3,
    peakLearningRate: 0.01,
    seed: 1,
  };
  const tuned = await fineTune({ ...tuning, masks: new Map([[PLACE.kernel, mask]]) }, () => {});
  const kernel = tuned.get(PLACE.kernel)!.data;
  mask.data.forEach((factor, index) => expect(kernel[index] === 0).toBe(factor === 0));
});
