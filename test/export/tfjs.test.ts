/** What tfjs-layers makes of an exported model, against the network's own forward pass. */
import { tensor, tidy, type Tensor } from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { untrainedModel } from '../../offline/bench/untrained.ts';
import { encodeTfjs } from '../../offline/export/tfjs.ts';
import type { Model } from '../../offline/model.ts';
import { useBackend } from '../network/backends.ts';
import { conv } from '../network/layer-cases.ts';
import { expectClose, networkOf, randomImages } from '../network/networks.ts';
import { expectedLogits, networkCases, randomModel, victimCase, type Images } from './cases.ts';
import { loadTfjs } from './load-tfjs.ts';

async function expectSameLogits(model: Model, images: Images): Promise<void> {
  const files = encodeTfjs(model);
  if (!files.ok) throw new Error(files.error);
  const loaded = await loadTfjs(files.value);
  const logits = tidy(() => (loaded.predict(tensor(images.data, images.shape)) as Tensor).dataSync());
  loaded.dispose();
  expectClose(logits, expectedLogits(model, images), 1e-4);
}

describe.each(['cpu', 'wasm'] as const)('on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  it.each(networkCases)('tfjs-layers gives the logits of the network: %s', async (_, network) => {
    await expectSameLogits(randomModel(network), randomImages(network, 2, 2));
  });
});

it('tfjs-layers gives the logits of a trained network on real images', async () => {
  await useBackend('wasm');
  const { model, images } = await victimCase();
  await expectSameLogits(model, images);
});

it('tfjs-layers gives the logits of a ResNet', async () => {
  await useBackend('wasm');
  const model = untrainedModel('resnet8', 1);
  await expectSameLogits(model, randomImages(model.network, 2, 2));
});

it('splits weights into shards of 4 MiB that tfjs-layers joins again', async () => {
  await useBackend('wasm');
  const model = randomModel(networkOf([1, 1, 1024], [{ ...conv, filters: 1100, kernelSize: [1, 1] }]));
  const files = encodeTfjs(model);
  const sizes = files.ok ? [...files.value].slice(1).map(([name, { length }]) => [name, length]) : files.error;
  expect(sizes).toEqual([
    ['group1-shard1of2.bin', 2 ** 22],
    ['group1-shard2of2.bin', expect.any(Number)],
  ]);
  await expectSameLogits(model, randomImages(model.network, 2, 2));
});

it('names all layers that Keras would have to fill with zeros beyond the limit', () => {
  const wide = { ...conv, filters: 8192, kernelSize: [1, 1] as [number, number] };
  const grouped = { ...wide, groups: 4096 };
  const network = networkOf(
    [1, 1, 4],
    [
      { ...wide, name: 'wide' },
      { ...grouped, name: 'first', inputs: ['wide'] },
      { ...grouped, name: 'second', inputs: ['first'] },
    ],
  );
  const files = encodeTfjs(randomModel(network));
  expect(files.ok || files.error).toMatch(/at most \d+ bytes of zeros, got \d+ in layers "first" .*, "second" /);
});
