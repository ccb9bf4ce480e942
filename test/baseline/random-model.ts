import { smallCnn } from '../../offline/attack/small-cnn.ts';
import type { Dataset } from '../../offline/data/dataset.ts';
import { randomSource } from '../../offline/engine/random.ts';
import type { Model } from '../../offline/model.ts';
import { weightShapes } from '../../src/network/network.ts';
import type { HostTensor } from '../../src/network/safetensors.ts';

/** A small CNN for these images that has learnt nothing yet: He-normal kernels, biases a little above zero. */
export function randomModel(images: Dataset, seed: number): Model {
  const network = smallCnn(images, images.labelNames!);
  const random = randomSource(seed, 'random model');
  const weights = [...weightShapes(network)].map(([name, shape]): [string, HostTensor] => {
    const size = shape.reduce((product, axis) => product * axis, 1);
    const scale = Math.sqrt((2 * shape.at(-1)!) / size);
    const data = shape.length === 1 ? new Float32Array(size).fill(0.01) : random.normal(size);
    return [name, { dtype: 'F32', shape, data: shape.length === 1 ? data : data.map((value) => scale * value) }];
  });
  return { network, weights: new Map(weights) };
}
