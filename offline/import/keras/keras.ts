/** Model files of Keras: HDF5 (`.h5`, of Keras 2 and 3) and the zip archive of Keras 3 (`.keras`). */
import { failure, type Result } from '../../../src/result.ts';
import { decodeJson } from '../../../src/release/encoding.ts';
import { readWithin, writeNewFile } from '../../directory.ts';
import { MODEL_LIMIT_BYTES, type Draft, type GivenInput } from '../imported.ts';
import { isZip, openArchive, readMember, replaceMember } from './archive.ts';
import { CONFIG_LIMIT_BYTES } from './config.ts';
import { draftFromKeras } from './draft.ts';
import { isHdf5, patchHdf5, readHdf5 } from './hdf5.ts';
import { namedWeights, numberedWeights } from './weights.ts';

const WEIGHTS_FILE = 'model.weights.h5';

/**
 * Reads a `.h5`, `.hdf5` or `.keras` file, told apart by content, of at most `MODEL_LIMIT_BYTES`. The error names the file and all
 * unsupported layers, or what is damaged or does not fit.
 */
export async function readKeras(path: string, given: GivenInput): Promise<Result<Draft>> {
  const bytes = await readWithin(path, MODEL_LIMIT_BYTES);
  if (!bytes.ok) return bytes;
  const draft = isHdf5(bytes.value) ? await fromHdf5(bytes.value, given) : await fromArchive(bytes.value, given);
  return draft.ok ? draft : failure(`${path}: ${draft.error}`);
}

async function fromHdf5(bytes: Uint8Array, given: GivenInput): Promise<Result<Draft>> {
  const file = await readHdf5(bytes, ['model_weights'], 'model_config');
  if (!file.ok) return file;
  const { text, arrays } = file.value;
  if (text === null)
    return failure(
      'expected a whole model with its "model_config", got weights alone: save the model, not its weights',
    );
  const config = parseConfig(new TextEncoder().encode(text));
  if (!config.ok) return config;
  const weights = namedWeights(arrays, ({ scope, name }) => `model_weights/${scope[0] ?? name}/`);
  return draftFromKeras(config.value, weights, given);
}

async function fromArchive(bytes: Uint8Array, given: GivenInput): Promise<Result<Draft>> {
  if (!isZip(bytes)) return failure('expected a Keras model (HDF5, or the zip archive of Keras 3), got something else');
  const archive = openArchive(bytes);
  if (!archive.ok) return archive;
  const text = readMember(archive.value, 'config.json', CONFIG_LIMIT_BYTES);
  if (!text.ok) return text;
  const config = parseConfig(text.value);
  if (!config.ok) return config;
  const file = readMember(archive.value, WEIGHTS_FILE, MODEL_LIMIT_BYTES);
  if (!file.ok) return file;
  if (!isHdf5(file.value))
    return failure(`"${WEIGHTS_FILE}" in the archive: expected an HDF5 file, got something else`);
  const content = await readHdf5(file.value, ['layers'], '');
  return content.ok ? draftFromKeras(config.value, numberedWeights(content.value.arrays), given) : content;
}

function parseConfig(bytes: Uint8Array): Result<unknown> {
  if (bytes.length > CONFIG_LIMIT_BYTES) {
    return failure(`expected a model config of at most ${CONFIG_LIMIT_BYTES} bytes, got ${bytes.length}`);
  }
  const json = decodeJson(bytes);
  return json.ok ? json : failure(`the model config: ${json.error}`);
}

/**
 * Copies a Keras file with other values, in the file's order, for some of its data sets (by path within the HDF5 file). Every other
 * byte stays, but for the CRC-32 of the weights in a `.keras` archive, and but for an archive that was packed with compression, which is
 * packed anew.
 */
export async function patchKeras(
  path: string,
  tensors: ReadonlyMap<string, Float32Array>,
  out: string,
): Promise<Result<null>> {
  const bytes = await readWithin(path, MODEL_LIMIT_BYTES);
  if (!bytes.ok) return bytes;
  const patched = isHdf5(bytes.value)
    ? await patchHdf5(bytes.value, tensors)
    : await patchArchive(bytes.value, tensors);
  return patched.ok ? writeNewFile(out, patched.value) : failure(`${path}: ${patched.error}`);
}

async function patchArchive(
  bytes: Uint8Array,
  tensors: ReadonlyMap<string, Float32Array>,
): Promise<Result<Uint8Array>> {
  const archive = openArchive(bytes);
  if (!archive.ok) return archive;
  const file = readMember(archive.value, WEIGHTS_FILE, MODEL_LIMIT_BYTES);
  if (!file.ok) return file;
  const patched = await patchHdf5(file.value, tensors);
  return patched.ok ? replaceMember(archive.value, WEIGHTS_FILE, patched.value) : patched;
}
