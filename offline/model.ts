/** A model directory of the project's own form: `network.json` and `weights.safetensors`; other files may lie beside them. */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { networkSchema, parseNetwork, weightShapes, type Network } from '../src/network/network.ts';
import { encodeSafetensors, type HostTensor, type HostWeights } from '../src/network/safetensors.ts';
import { decodeJson, encodeText } from '../src/release/encoding.ts';
import { readTensors } from '../src/release/tensors.ts';
import { failure, success, type Result } from '../src/result.ts';
import { readWithin, writeDirectory } from './directory.ts';

/** A classifier in the memory of the host: weights by their names in `weightShapes`, all F32 and finite. */
export type Model = { readonly network: Network; readonly weights: HostWeights };

const NETWORK_FILE = 'network.json';
const WEIGHTS_FILE = 'weights.safetensors';
/** The two files of a model directory, in the order of their names. */
export const MODEL_FILES = [NETWORK_FILE, WEIGHTS_FILE];
const NETWORK_LIMIT_BYTES = 2 ** 24;
const WEIGHTS_LIMIT_BYTES = 2 ** 30;

/** Loads a model directory; the error names the file, and the layer, field or tensor that does not fit. */
export async function loadModel(directory: string): Promise<Result<Model>> {
  const networkFile = join(directory, NETWORK_FILE);
  const networkBytes = await readWithin(networkFile, NETWORK_LIMIT_BYTES);
  if (!networkBytes.ok) return networkBytes;
  const json = decodeJson(networkBytes.value);
  if (!json.ok) return failure(`${networkFile}: ${json.error}`);
  const network = parseNetwork(json.value);
  if (!network.ok) return failure(`${networkFile}: ${network.error}`);

  const weightsFile = join(directory, WEIGHTS_FILE);
  const weightsBytes = await readWithin(weightsFile, WEIGHTS_LIMIT_BYTES);
  if (!weightsBytes.ok) return weightsBytes;
  const shapes = weightShapes(network.value);
  const values = readTensors(weightsFile, weightsBytes.value, shapes);
  if (!values.ok) return values;
  const weights = new Map(
    [...shapes].map(([name, shape]): [string, HostTensor] => {
      return [name, { dtype: 'F32', shape, data: values.value.get(name)! }];
    }),
  );
  return success({ network: network.value, weights });
}

/** Writes a model and any further files into a new or empty directory, all or none. */
export const saveModel = (
  directory: string,
  model: Model,
  furtherFiles: ReadonlyMap<string, Uint8Array> = new Map(),
): Promise<Result<null>> => writeDirectory(directory, new Map([...furtherFiles, ...encodeModel(model)]));

/**
 * The digest of a model, 64 hex digits: the SHA-256 of the SHA-256 digests of its two files as `saveModel` writes them,
 * joined in the order of their names, as in a release. Equal networks with equal weights have equal digests.
 */
export function digestModel(model: Model): string {
  const root = createHash('sha256');
  for (const bytes of encodeModel(model).values()) root.update(createHash('sha256').update(bytes).digest());
  return root.digest('hex');
}

/** The two files in one canonical encoding: fields in the order of the schema, tensors in the order of the layers. */
function encodeModel({ network, weights }: Model): Map<string, Uint8Array> {
  const tensors = [...weightShapes(network)].map(([name, shape]): [string, HostTensor] => {
    const tensor = weights.get(name);
    if (tensor?.shape.join() !== shape.join())
      throw new Error(`model: weight "${name}": expected [${shape.join(',')}]`);
    return [name, tensor];
  });
  return new Map([
    [NETWORK_FILE, encodeText(`${JSON.stringify(networkSchema.parse(network), null, 2)}\n`)],
    [WEIGHTS_FILE, encodeSafetensors(new Map(tensors))],
  ]);
}
