/** Puts purified weights back into a copy of the model that they came from: only the weights that changed differ from it. */
import { unfoldBatchNorm } from '../../src/network/fold.ts';
import type { HostWeights } from '../../src/network/safetensors.ts';
import { failure, success, type Result } from '../../src/result.ts';
import { saveModel } from '../model.ts';
import { toFileOrder, type FileTensor } from './imported.ts';
import { patchKeras } from './keras/keras.ts';
import { patchOnnx } from './onnx/patch.ts';
import type { OpenedModel } from './open.ts';
import { patchTfjs } from './tfjs/tfjs.ts';

const SUFFIXES = { release: null, network: '.model', onnx: '.onnx', h5: '.h5', keras: '.keras', tfjs: '.tfjs' };
const PATCHES = { onnx: patchOnnx, h5: patchKeras, keras: patchKeras, tfjs: patchTfjs };

/** Where the purified model goes in its own form: beside the release, or nowhere for a model that came as a release. */
export function placeOfModel({ source }: OpenedModel, release: string): string | null {
  const suffix = SUFFIXES[source.format];
  return suffix === null ? null : release.replace(/[/\\]+$/, '') + suffix;
}

/**
 * Writes a copy of the model, with the weights `purified` of its folded network, to the new file or folder `out`, whole or not at all.
 * Fails where a weight that changed has no tensor of its own in the file, or shares one with a weight that must differ.
 */
export async function writeBack(model: OpenedModel, purified: HostWeights, out: string): Promise<Result<null>> {
  const { network, imported } = model;
  const weights = unfoldBatchNorm(network, model.weights, purified);
  if (!weights.ok) return weights;
  if (!imported) return saveModel(out, { network, weights: weights.value });
  const tensors = changedTensors(model.weights, weights.value, imported.places);
  return tensors.ok ? PATCHES[imported.format](imported.file, tensors.value, out) : tensors;
}

/** The tensors of the file that hold a changed weight, by name, in the file's order. */
export function changedTensors(
  before: HostWeights,
  after: HostWeights,
  places: ReadonlyMap<string, FileTensor>,
): Result<Map<string, Float32Array>> {
  const changed = new Set<string>();
  for (const [name, { data }] of after) {
    if (equal(data, before.get(name)!.data)) continue;
    const place = places.get(name);
    if (!place) return failure(`the unlearned weight "${name}" is not a tensor of its own in the file`);
    changed.add(place.tensor);
  }
  const tensors = new Map<string, Float32Array>();
  for (const [name, place] of places) {
    const weight = after.get(name);
    if (!weight || !changed.has(place.tensor)) continue;
    const values = toFileOrder(weight.data as Float32Array, place);
    const other = tensors.get(place.tensor);
    if (other && !equal(values, other)) {
      return failure(`the unlearned weight "${name}" shares the tensor "${place.tensor}" with one that differs now`);
    }
    tensors.set(place.tensor, values);
  }
  return success(tensors);
}

const equal = (one: ArrayLike<number>, other: ArrayLike<number>): boolean =>
  one.length === other.length && Array.prototype.every.call(one, (value, index) => value === other[index]);
