/** TensorFlow.js LayersModels: a Keras config in model.json, and weights in shards beside it. */
import { failure, type Result } from '../../../src/result.ts';
import { writeDirectory } from '../../directory.ts';
import type { Draft, GivenInput } from '../imported.ts';
import { draftFromKeras } from '../keras/draft.ts';
import type { FileArray } from '../keras/layer-class.ts';
import { namedWeights } from '../keras/weights.ts';
import { readTfjsFiles, type Group } from './manifest.ts';

/**
 * Reads a LayersModel, `path` being its model.json or the folder that has it. The error names the file, and all unsupported layers,
 * or the shard, weight or field that does not fit.
 */
export async function readTfjs(path: string, given: GivenInput): Promise<Result<Draft>> {
  const files = await readTfjsFiles(path);
  if (!files.ok) return files;
  const { topology, groups } = files.value;
  const config = (topology as { model_config?: unknown }).model_config ?? topology;
  const draft = draftFromKeras(
    config,
    namedWeights(groups.flatMap(arraysOf), () => ''),
    given,
  );
  return draft.ok ? draft : failure(`${path}: ${draft.error}`);
}

function arraysOf({ weights, shards }: Group): FileArray[] {
  const { buffer } = joined(shards);
  return weights.map(({ name, shape, start, length }) => ({
    tensor: name,
    shape,
    data: new Float32Array(buffer, start, length),
  }));
}

function joined(shards: ReadonlyMap<string, Uint8Array>): Uint8Array<ArrayBuffer> {
  const sizes = [...shards.values()].map((bytes) => bytes.length);
  const all = new Uint8Array(sizes.reduce((total, size) => total + size, 0));
  let start = 0;
  for (const bytes of shards.values()) {
    all.set(bytes, start);
    start += bytes.length;
  }
  return all;
}

/**
 * Copies a LayersModel into the new or empty folder `out`, model.json and shards, with other values for some of its weights (by the
 * names in model.json, in the file's order); every other byte stays.
 */
export async function patchTfjs(
  path: string,
  tensors: ReadonlyMap<string, Float32Array>,
  out: string,
): Promise<Result<null>> {
  const files = await readTfjsFiles(path);
  if (!files.ok) return files;
  const { name, json, groups } = files.value;
  const copy = new Map([[name, json]]);
  const left = new Set(tensors.keys());
  for (const { weights, shards } of groups) {
    const all = joined(shards);
    for (const weight of weights) {
      const values = tensors.get(weight.name);
      if (!values) continue;
      if (values.length !== weight.length) {
        return failure(`${path}: weight "${weight.name}": expected ${weight.length} numbers, got ${values.length}`);
      }
      all.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), weight.start);
      left.delete(weight.name);
    }
    let start = 0;
    for (const [shard, { length }] of shards) {
      copy.set(shard, all.subarray(start, start + length));
      start += length;
    }
  }
  if (left.size > 0) return failure(`${path}: expected the weights ${[...left].join(', ')}, got a model without them`);
  return writeDirectory(out, copy);
}
