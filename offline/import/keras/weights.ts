/** Where the files of Keras keep the weights of a layer. */
import { failure, success } from '../../../src/result.ts';
import { layerTitle, type KerasLayer } from './config.ts';
import type { WeightSource } from './draft.ts';
import type { FileArray } from './layer-class.ts';

/**
 * Weights by name, `[models/]layer/name`, as `.h5` files and TFJS have them; `withinOf` gives the beginning that the names of a
 * layer's tensors share in their file.
 */
export function namedWeights(arrays: readonly FileArray[], withinOf: (layer: KerasLayer) => string): WeightSource {
  const byName = Map.groupBy(arrays, ({ tensor }) => weightName(tensor));
  return (layer, names) => {
    const found: FileArray[] = [];
    for (const name of names) {
      // Keras 2 calls the kernel of a depthwise convolution otherwise than Keras 3.
      const named = [name, ...(name === 'kernel' ? ['depthwise_kernel'] : [])].flatMap((key) => byName.get(key) ?? []);
      const candidates = ofLayer(named, layer, withinOf(layer));
      if (candidates.length !== 1) {
        const got = candidates.length === 0 ? 'none' : candidates.map(({ tensor }) => tensor).join(', ');
        return failure(
          `${layerTitle(layer.className, layer.name)}: expected one weight "${name}", got ${got.slice(0, 400)}`,
        );
      }
      found.push(candidates[0]!);
    }
    return success(found);
  };
}

/** `kernel` of `conv/kernel:0`. */
const weightName = (tensor: string): string => tensor.slice(tensor.lastIndexOf('/') + 1).replace(/:0$/, '');

/** The tensors of a layer: under its own name or, where there are none, that within whatever models or scopes. */
function ofLayer(arrays: readonly FileArray[], { scope, name }: KerasLayer, within: string): FileArray[] {
  const inside = arrays
    .filter(({ tensor }) => tensor.startsWith(within))
    .map((array) => ({ array, holder: array.tensor.slice(within.length, array.tensor.lastIndexOf('/')) }));
  for (const exact of [[...scope, name].join('/'), name]) {
    const found = inside.filter(({ holder }) => holder === exact);
    if (found.length > 0) return found.map(({ array }) => array);
  }
  return inside.filter(({ holder }) => holder.endsWith(`/${name}`)).map(({ array }) => array);
}

/** Weights by place, `<group of the layer>vars/<number>`, as the `model.weights.h5` of Keras 3 has them. */
export function numberedWeights(arrays: readonly FileArray[]): WeightSource {
  const byTensor = new Map(arrays.map((array) => [array.tensor, array]));
  return (layer, names) => {
    const found: FileArray[] = [];
    for (const [index, name] of names.entries()) {
      const tensor = `${layer.store}vars/${index}`;
      const array = byTensor.get(tensor);
      if (!array) {
        return failure(
          `${layerTitle(layer.className, layer.name)}: expected its weight "${name}" as data set "${tensor}", got none`,
        );
      }
      found.push(array);
    }
    return success(found);
  };
}
