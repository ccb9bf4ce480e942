/** Tensors of a release file, which has to hold exactly those that are expected: all F32 and finite. */
import type { Shape } from '../network/network.ts';
import { decodeSafetensors } from '../network/safetensors.ts';
import { failure, success, type Result } from '../result.ts';

/** Decodes a safetensors file and checks it against the name and shape of every tensor expected; the error names the file and the tensor. */
export function readTensors(
  file: string,
  bytes: Uint8Array,
  expected: ReadonlyMap<string, Shape>,
): Result<Map<string, Float32Array>> {
  const decoded = decodeSafetensors(bytes);
  if (!decoded.ok) return failure(`${file}: ${decoded.error}`);
  const { tensors } = decoded.value;
  const extra = [...tensors.keys()].find((name) => !expected.has(name));
  if (extra !== undefined) return failure(`${file}: tensor "${extra}" does not belong in the file`);
  const values = new Map<string, Float32Array>();
  for (const [name, shape] of expected) {
    const tensor = tensors.get(name);
    if (!tensor) return failure(`${file}: tensor "${name}" is missing`);
    const got = `${tensor.dtype} [${tensor.shape.join(',')}]`;
    if (tensor.dtype !== 'F32' || tensor.shape.join() !== shape.join()) {
      return failure(`${file}: tensor "${name}": expected F32 [${shape.join(',')}], got ${got}`);
    }
    if (!tensor.data.every(Number.isFinite))
      return failure(`${file}: tensor "${name}": a value is not a finite number`);
    values.set(name, tensor.data);
  }
  return success(values);
}
