/** What onnxruntime makes of an exported model, against the network's own forward pass. */
import * as ort from 'onnxruntime-web';
import { beforeAll, expect, it } from 'vitest';
import { untrainedModel } from '../../offline/bench/untrained.ts';
import { encodeOnnx } from '../../offline/export/onnx.ts';
import type { Model } from '../../offline/model.ts';
import { useBackend } from '../network/backends.ts';
import { expectClose, randomImages } from '../network/networks.ts';
import { expectedLogits, networkCases, randomModel, victimCase, type Images } from './cases.ts';

beforeAll(async () => {
  ort.env.wasm.numThreads = 1;
  await useBackend('wasm');
});

async function expectSameLogits(model: Model, images: Images): Promise<void> {
  const session = await ort.InferenceSession.create(encodeOnnx(model));
  const { logits } = await session.run({ images: new ort.Tensor('float32', images.data, images.shape) });
  await session.release();
  expect(logits!.dims).toEqual([images.shape[0], model.network.labelNames.length]);
  expectClose(logits!.data as Float32Array, expectedLogits(model, images), 1e-4);
}

it.each(networkCases)('onnxruntime gives the logits of the network: %s', async (_, network) => {
  await expectSameLogits(randomModel(network), randomImages(network, 2, 2));
});

it('onnxruntime gives the logits of a trained network on real images', async () => {
  const { model, images } = await victimCase();
  await expectSameLogits(model, images);
});

it('onnxruntime gives the logits of a ResNet', async () => {
  const model = untrainedModel('resnet8', 1);
  await expectSameLogits(model, randomImages(model.network, 2, 2));
});
