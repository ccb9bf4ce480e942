/** The files of a TensorFlow.js LayersModel: model.json, and its weights one after another in shards (`weightsManifest`). */
import { stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import * as z from 'zod';
import { decodeJson } from '../../../src/release/encoding.ts';
import { failure, success, type Result } from '../../../src/result.ts';
import { readWithin } from '../../directory.ts';
import { MODEL_LIMIT_BYTES } from '../imported.ts';
import { CONFIG_LIMIT_BYTES } from '../keras/config.ts';

/** A weight of a group; it lies at `start` in the group's shards put one after another. */
export type Place = { name: string; shape: number[]; start: number; length: number };

/** A group of weights and its shards, by their paths from the folder, with their content. */
export type Group = { weights: Place[]; shards: Map<string, Uint8Array> };

/** `json` is the file as it is; `topology` its untrusted part about layers. */
export type TfjsFiles = { name: string; json: Uint8Array; topology: unknown; groups: Group[] };

const FLOAT_BYTES = 4;
const text = z.string().max(400);
// Not a path that leaves the folder, of any system.
const shardPath = text.regex(/^(?!\.)[\w.-]+(\/(?!\.)[\w.-]+)*$/, 'expected a path within the folder of model.json');
const group = z.object({
  paths: z.array(shardPath).min(1).max(4096),
  weights: z.array(
    z.object({
      name: text,
      shape: z.array(z.int().min(0).max(MODEL_LIMIT_BYTES)).max(8),
      dtype: text,
      quantization: z.unknown().optional(),
    }),
  ),
});
const layersModel = z.object({
  modelTopology: z.record(z.string(), z.unknown()),
  weightsManifest: z.array(group).max(4096),
});

/** Reads a model.json, or that of a folder, and its shards; the error names the file and what does not fit. */
export async function readTfjsFiles(path: string): Promise<Result<TfjsFiles>> {
  const isFolder = await stat(path).then(
    (stats) => stats.isDirectory(),
    () => false,
  );
  const file = isFolder ? join(path, 'model.json') : path;
  const json = await readWithin(file, CONFIG_LIMIT_BYTES);
  if (!json.ok) return json;
  const parsed = parseModel(json.value);
  if (!parsed.ok) return failure(`${file}: ${parsed.error}`);
  const { modelTopology, weightsManifest } = parsed.value;
  const groups: Group[] = [];
  const names = new Set<string>();
  let leftBytes = MODEL_LIMIT_BYTES;
  for (const { paths, weights } of weightsManifest) {
    const places = placesOf(weights, names);
    if (!places.ok) return failure(`${file}: ${places.error}`);
    const expected = places.value.reduce((total, { length }) => total + length * FLOAT_BYTES, 0);
    if (expected > leftBytes)
      return failure(`${file}: expected weights of at most ${MODEL_LIMIT_BYTES} bytes in all, got more`);
    leftBytes -= expected;
    const shards = await readShards(dirname(file), paths, expected);
    if (!shards.ok) return shards;
    groups.push({ weights: places.value, shards: shards.value });
  }
  return success({ name: basename(file), json: json.value, topology: modelTopology, groups });
}

function parseModel(bytes: Uint8Array): Result<z.infer<typeof layersModel>> {
  const json = decodeJson(bytes);
  if (!json.ok) return json;
  const { format } = z.object({ format: z.unknown() }).safeParse(json.value).data ?? {};
  if (format === 'graph-model') {
    return failure(
      'expected a LayersModel, got a graph model: convert the original with tensorflowjs_converter --output_format=tfjs_layers_model',
    );
  }
  const parsed = layersModel.safeParse(json.value);
  if (parsed.success) return success(parsed.data);
  const { path, message } = parsed.error.issues[0]!;
  return failure(`expected the model.json of a TensorFlow.js LayersModel: ${path.join('.') || 'file'}: ${message}`);
}

function placesOf(weights: z.infer<typeof group>['weights'], names: Set<string>): Result<Place[]> {
  const places: Place[] = [];
  let start = 0;
  for (const { name, shape, dtype, quantization } of weights) {
    if (dtype !== 'float32' || quantization !== undefined) {
      const got = quantization === undefined ? dtype : 'quantized numbers';
      return failure(`weight "${name}": expected float32 (convert the model without quantization), got ${got}`);
    }
    if (names.has(name)) return failure(`weight "${name}": the name is used twice`);
    names.add(name);
    const length = shape.reduce((total, axis) => total * axis, 1);
    places.push({ name, shape, start, length });
    start += length * FLOAT_BYTES;
  }
  return success(places);
}

async function readShards(
  folder: string,
  paths: readonly string[],
  expected: number,
): Promise<Result<Map<string, Uint8Array>>> {
  const shards = new Map<string, Uint8Array>();
  let left = expected;
  for (const path of paths) {
    const file = join(folder, path);
    if (shards.has(path)) return failure(`${file}: expected every shard once, got it twice`);
    const bytes = await readWithin(file, left);
    if (!bytes.ok) return bytes;
    left -= bytes.value.length;
    shards.set(path, bytes.value);
  }
  if (left === 0) return success(shards);
  return failure(`${join(folder, paths.at(-1)!)}: expected ${left} bytes more for the weights that model.json lists`);
}
