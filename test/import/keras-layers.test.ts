/** Layers that the fixtures lack, against numbers that Keras 3.15 gave for the values in `inputs`. */
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { readKeras } from '../../offline/import/keras/keras.ts';
import { useBackend } from '../network/backends.ts';
import { testDirectory } from '../support/directory.ts';
import { importedLogits, largestDifference } from './imported-logits.ts';
import { archiveOf, layer, type Config } from './keras-configs.ts';

const inputs = [-4, -1, -0.5, 0, 0.5, 1, 3.5, 7];
const softmax = [1.61214e-5, 0.000323807, 0.000533867, 0.000880198, 0.0014512, 0.00239263, 0.0291481, 0.965254];
const swish = [-0.0719448, -0.268941, -0.18877, 0, 0.31123, 0.731059, 3.39741, 6.99362];
const hardSwish = [0, -0.333333, -0.208333, 0, 0.291667, 0.666667, 3.5, 7];

beforeAll(() => useBackend('cpu'));

/** What the layer gives for the channels of one pixel; a layer behind it keeps the importer from dropping a softmax. */
async function outputsOf(...layers: Config[]): Promise<Float32Array> {
  const file = path.join(await testDirectory(), 'model.keras');
  const input = { class_name: 'InputLayer', config: { name: 'in', batch_shape: [null, 1, 1, inputs.length] } };
  const model = {
    class_name: 'Sequential',
    config: { name: 'model', layers: [input, ...layers, layer('Flatten', 'flat')] },
  };
  await writeFile(file, await archiveOf(model));
  const draft = await readKeras(file, {});
  const scale = draft.ok ? (draft.value.input.scale ?? 1) : 1;
  return importedLogits(
    draft,
    Float32Array.from(inputs, (value) => value / scale),
    [1, 1, 1, inputs.length],
  );
}

it.each<[string, Config, number[]]>([
  ['Activation', { activation: 'linear' }, inputs],
  ['Activation', { activation: 'relu' }, [0, 0, 0, 0, 0.5, 1, 3.5, 7]],
  ['Activation', { activation: 'relu6' }, [0, 0, 0, 0, 0.5, 1, 3.5, 6]],
  ['Activation', { activation: 'elu' }, [-0.981684, -0.632121, -0.393469, 0, 0.5, 1, 3.5, 7]],
  ['Activation', { activation: 'selu' }, [-1.7259, -1.11133, -0.691758, 0, 0.525351, 1.0507, 3.67745, 7.35491]],
  [
    'Activation',
    { activation: 'sigmoid' },
    [0.0179862, 0.268941, 0.377541, 0.5, 0.622459, 0.731059, 0.970688, 0.999089],
  ],
  ['Activation', { activation: 'tanh' }, [-0.999329, -0.761594, -0.462117, 0, 0.462117, 0.761594, 0.998178, 0.999998]],
  ['Activation', { activation: 'softmax' }, softmax],
  ['Activation', { activation: 'swish' }, swish],
  ['Activation', { activation: 'silu' }, swish],
  ['Activation', { activation: 'hard_swish' }, hardSwish],
  ['Activation', { activation: 'hard_silu' }, hardSwish],
  ['Activation', { activation: 'gelu' }, [-0.000126685, -0.158655, -0.154269, 0, 0.345731, 0.841345, 3.49919, 7]],
  ['Activation', { activation: 'leaky_relu' }, [-0.8, -0.2, -0.1, 0, 0.5, 1, 3.5, 7]],
  ['Activation', { activation: { class_name: 'function', config: 'relu' } }, [0, 0, 0, 0, 0.5, 1, 3.5, 7]],
  [
    'Activation',
    { activation: { class_name: 'LeakyReLU', config: { negative_slope: 0.1 } } },
    [-0.4, -0.1, -0.05, 0, 0.5, 1, 3.5, 7],
  ],
  ['ReLU', {}, [0, 0, 0, 0, 0.5, 1, 3.5, 7]],
  ['ReLU', { max_value: 6 }, [0, 0, 0, 0, 0.5, 1, 3.5, 6]],
  ['ReLU', { negative_slope: 0.25 }, [-1, -0.25, -0.125, 0, 0.5, 1, 3.5, 7]],
  ['LeakyReLU', { negative_slope: 0.1 }, [-0.4, -0.1, -0.05, 0, 0.5, 1, 3.5, 7]],
  ['LeakyReLU', { alpha: 0.1 }, [-0.4, -0.1, -0.05, 0, 0.5, 1, 3.5, 7]],
  ['ELU', { alpha: 1 }, [-0.981684, -0.632121, -0.393469, 0, 0.5, 1, 3.5, 7]],
  ['Softmax', { axis: -1 }, softmax],
  ['Rescaling', { scale: 0.5, offset: 3 }, [1, 2.5, 2.75, 3, 3.25, 3.5, 4.75, 6.5]],
  [
    'Rescaling',
    { scale: 1 / 128 },
    [-0.03125, -0.0078125, -0.00390625, 0, 0.00390625, 0.0078125, 0.02734375, 0.0546875],
  ],
  ['Normalization', { mean: 1, variance: 4 }, [-2.5, -1, -0.75, -0.5, -0.25, 0, 1.25, 3]],
  ['GlobalAveragePooling2D', { keepdims: true }, inputs],
  ['Reshape', { target_shape: [2, -1] }, inputs],
  ['Dropout', { rate: 0.9 }, inputs],
])('%s %j gives what Keras gives', async (className, config, expected) => {
  const outputs = await outputsOf(layer(className, 'tried', config));
  expect(largestDifference(outputs, expected)).toBeLessThanOrEqual(1e-4);
});
