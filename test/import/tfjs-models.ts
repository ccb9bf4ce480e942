/** TensorFlow.js LayersModels on images [28,28,1], made with tfjs-layers and written in the files that its savers write. */
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { io, tensor } from '@tensorflow/tfjs-core';
import { input, layers, model, sequential, type LayersModel, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { uniform } from '../support/uniform.ts';

const images: [number, number, number] = [28, 28, 1];

function plain(): LayersModel {
  return sequential({
    layers: [
      layers.rescaling({ inputShape: images, scale: 1 / 127.5, offset: -1 }),
      layers.conv2d({ filters: 6, kernelSize: 5, padding: 'same', activation: 'elu' }),
      layers.averagePooling2d({ poolSize: 3, strides: 2, padding: 'same' }),
      layers.zeroPadding2d({
        padding: [
          [0, 1],
          [1, 0],
        ],
      }),
      layers.conv2d({ filters: 8, kernelSize: 3, strides: 2, useBias: false }),
      layers.batchNormalization({ scale: false }),
      layers.leakyReLU({ alpha: 0.1 }),
      layers.dropout({ rate: 0.5 }),
      layers.flatten(),
      layers.dense({ units: 16, activation: 'selu' }),
      layers.dense({ units: 10 }),
      layers.softmax(),
    ],
  });
}

/** Residual and concatenated branches, depthwise and separable convolutions, and a model within the model. */
function functional(): LayersModel {
  const call = (
    layer: { apply(from: SymbolicTensor | SymbolicTensor[]): unknown },
    ...from: SymbolicTensor[]
  ): SymbolicTensor => layer.apply(from.length === 1 ? from[0]! : from) as SymbolicTensor;
  const inputs = input({ shape: images });
  let x = call(layers.conv2d({ filters: 8, kernelSize: 3, strides: 2, padding: 'same', activation: 'relu' }), inputs);
  const depthwise = layers.depthwiseConv2d({ kernelSize: 3, padding: 'same', depthMultiplier: 2 });
  const narrow = layers.conv2d({ filters: 8, kernelSize: 1, activation: 'tanh' });
  const branch = call(narrow, call(layers.reLU({ maxValue: 6 }), call(depthwise, x)));
  x = call(layers.add(), x, branch);
  const separable = call(layers.separableConv2d({ filters: 4, kernelSize: 3, padding: 'same', dilationRate: 2 }), x);
  x = call(
    layers.concatenate(),
    x,
    separable,
    call(layers.maxPooling2d({ poolSize: 3, strides: 1, padding: 'same' }), x),
  );
  const inner = sequential({
    layers: [
      layers.conv2d({ inputShape: [14, 14, 20], filters: 12, kernelSize: 3, strides: 2 }),
      layers.batchNormalization({ center: false }),
      layers.activation({ activation: 'sigmoid' }),
    ],
  });
  x = call(layers.globalAveragePooling2d({}), call(inner, x));
  x = call(layers.reshape({ targetShape: [12] }), call(layers.reshape({ targetShape: [2, 2, 3] }), x));
  return model({ inputs, outputs: call(layers.dense({ units: 10 }), x) });
}

export const tfjsModels: [string, () => LayersModel][] = [
  ['sequential', plain],
  ['functional', functional],
];

/** Weights that follow from the seed; variances and scales lie in 0.5..1.5. */
export function randomise(made: LayersModel, seed: number): void {
  const next = uniform(seed);
  const values = made.weights.map(({ name, shape }) => {
    const count = (shape as number[]).reduce((total, axis) => total * axis, 1);
    const positive = /variance|gamma/.test(name);
    const drawn = Float32Array.from({ length: count }, () => (positive ? 0.5 + next() : 0.6 * (next() - 0.5)));
    return tensor(drawn, shape as number[]);
  });
  made.setWeights(values);
}

/** Writes model.json and shards of `shardBytes` into a new folder, as tfjs's savers do but for the size of the shards. */
export async function writeTfjs(made: LayersModel, folder: string, shardBytes = 1000): Promise<void> {
  await mkdir(folder, { recursive: true });
  await made.save(
    io.withSaveHandler(async ({ modelTopology, weightSpecs, weightData }) => {
      const bytes = new Uint8Array(io.CompositeArrayBuffer.join(weightData));
      const count = Math.ceil(bytes.length / shardBytes);
      const paths = Array.from({ length: count }, (_, index) => `group1-shard${index + 1}of${count}.bin`);
      for (const [index, name] of paths.entries()) {
        await writeFile(path.join(folder, name), bytes.subarray(index * shardBytes, (index + 1) * shardBytes));
      }
      const json = { format: 'layers-model', modelTopology, weightsManifest: [{ paths, weights: weightSpecs }] };
      await writeFile(path.join(folder, 'model.json'), JSON.stringify(json));
      return { modelArtifactsInfo: { dateSaved: new Date(0), modelTopologyType: 'JSON' } };
    }),
  );
}
