/** Puts changed weights back into a copy of an ONNX file: only the bytes of their elements change. */
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { failure, success, type Result } from '../../../src/result.ts';
import { isTaken, readWithin } from '../../directory.ts';
import { MODEL_LIMIT_BYTES } from '../imported.ts';
import { decodeModel, type OnnxModel, type OnnxTensor } from './proto.ts';
import { Refusal, refuse } from './refusal.ts';
import { encodeElements, externalLocation, locate } from './tensor.ts';

/**
 * Copies the model at `path` to the new file `out` with these tensors replaced (by name, values in the file's order), and nothing else.
 * External data files are copied beside it under their own names, so that model and copy must lie in different folders.
 */
export async function patchOnnx(
  path: string,
  tensors: ReadonlyMap<string, Float32Array>,
  out: string,
): Promise<Result<null>> {
  const bytes = await readWithin(path, MODEL_LIMIT_BYTES);
  if (!bytes.ok) return bytes;
  const model = decodeModel(bytes.value);
  if (!model.ok) return failure(`${path}: ${model.error}`);
  try {
    const files = await patchedFiles(model.value, tensors, path, bytes.value);
    await writeAll(
      new Map([...files].map(([name, content]) => [name === path ? out : join(dirname(out), name), content])),
    );
    return success(null);
  } catch (error) {
    if (error instanceof Refusal) return failure(`${path}: ${error.message}`);
    return failure(`${out}: cannot be written (${(error as Error).message})`);
  }
}

/** The content of the model file (under `path`) and of its external data files (under their locations), patched. */
async function patchedFiles(
  model: OnnxModel,
  tensors: ReadonlyMap<string, Float32Array>,
  path: string,
  bytes: Uint8Array,
): Promise<Map<string, Uint8Array>> {
  const files = new Map([[path, bytes.slice()]]);
  const all = allTensors(model);
  for (const [, tensor] of all) {
    const location = externalLocation(tensor);
    if (location === undefined || files.has(location)) continue;
    // Refuses a location outside of the folder before anything is read from it.
    const { file } = await locate(tensor, path, bytes);
    files.set(location, new Uint8Array(await readFile(file!)));
  }
  for (const [name, values] of tensors) {
    const tensor = all.get(name) ?? refuse(`tensor "${name}": expected one in the file`);
    const region = await locate(tensor, path, bytes);
    const encoded = encodeElements(name, values, region);
    files.get(externalLocation(tensor) ?? path)!.set(encoded, region.start);
  }
  return files;
}

/** Initialisers, and the tensors that Constant nodes hold under the names of their outputs. */
function allTensors({ graph }: OnnxModel): Map<string, OnnxTensor> {
  const held = graph.node.flatMap(({ opType, output, attribute }) => {
    const tensor = opType === 'Constant' ? attribute.find(({ name }) => name === 'value')?.t : undefined;
    return tensor ? [[output[0] ?? '', tensor] as const] : [];
  });
  return new Map([...held, ...graph.initializer.map((tensor) => [tensor.name, tensor] as const)]);
}

/** Writes new files, all or none. */
async function writeAll(files: ReadonlyMap<string, Uint8Array>): Promise<void> {
  for (const file of files.keys()) {
    if (await isTaken(file)) refuse(`a copy would overwrite ${file}; write it into another folder`);
  }
  const temporary = [...files.keys()].map((file) => [join(dirname(resolve(file)), `.${basename(file)}.part`), file]);
  try {
    for (const [part, file] of temporary) await writeFile(part!, files.get(file!)!, { flush: true });
    for (const [part, file] of temporary) await rename(part!, file!);
  } finally {
    for (const [part] of temporary) await rm(part!, { force: true });
  }
}
