/** Tensors that an ONNX file holds: their element data wherever it lies, and where it lies. */
import { open, realpath } from 'node:fs/promises';
import { dirname, isAbsolute, join, relative, sep } from 'node:path';
import { MODEL_LIMIT_BYTES } from '../imported.ts';
import { constantOf, type Constant } from './constant.ts';
import type { OnnxTensor } from './proto.ts';
import { refuse } from './refusal.ts';

const EXTERNAL = 1;
/** Whole numbers are shapes and indices, which are short. */
const MOST_VARINTS = 2 ** 20;
/** Element types by their number in onnx.proto (TensorProto.DataType). */
const FLOAT = 1;
const INT32 = 6;
const INT64 = 7;
const BOOL = 9;
const FLOAT16 = 10;
const DOUBLE = 11;
const ELEMENT_BYTES: ReadonlyMap<number, number> = new Map([
  [FLOAT, 4],
  [INT32, 4],
  [INT64, 8],
  [BOOL, 1],
  [FLOAT16, 2],
  [DOUBLE, 8],
]);

/** Element data as it lies in a file: `file` is the path of an external data file, or null for the model file itself. */
export type Region = { file: string | null; start: number; bytes: Uint8Array; dataType: number };

/** Where the elements of a floating-point tensor lie; refuses what is no such tensor, or does not have the bytes that its shape claims. */
export async function locate(tensor: OnnxTensor, modelPath: string, model: Uint8Array): Promise<Region> {
  const elementBytes = ELEMENT_BYTES.get(tensor.dataType) ?? refuse(unsupportedType(tensor));
  const count = elementCount(tensor);
  if (tensor.dataLocation === EXTERNAL) return readExternal(tensor, count * elementBytes, modelPath);
  const bytes = inlineData(tensor);
  if (bytes.length !== count * elementBytes) {
    refuse(
      `tensor "${tensor.name}" [${tensor.dims.join(',')}]: expected ${count * elementBytes} bytes, got ${bytes.length}`,
    );
  }
  return { file: null, start: bytes.byteOffset - model.byteOffset, bytes, dataType: tensor.dataType };
}

/** The tensor as a constant: floats with their place in the file, whole numbers and booleans without. */
export async function readTensor(tensor: OnnxTensor, name: string, path: string, model: Uint8Array): Promise<Constant> {
  const { dataType, dims } = tensor;
  const varints = dataType === INT64 ? tensor.int64Data : tensor.int32Data;
  if ((dataType === INT64 || dataType === INT32 || dataType === BOOL) && varints.length) {
    return constantOf(dims, Float64Array.from(decodeVarints(varints, elementCount(tensor), tensor.name)), null);
  }
  const region = await locate(tensor, path, model);
  const place = dataType === FLOAT || dataType === FLOAT16 || dataType === DOUBLE ? name : null;
  return constantOf(dims, decodeElements(region), place);
}

function unsupportedType({ name, dataType }: OnnxTensor): string {
  return `tensor "${name}": expected elements of float32, float16, float64, int32, int64 or bool, got ONNX type ${dataType}`;
}

function elementCount({ name, dims }: OnnxTensor): number {
  const count = dims.reduce((total, size) => (Number.isSafeInteger(size) && size >= 0 ? total * size : Number.NaN), 1);
  const fits = count <= MODEL_LIMIT_BYTES;
  return fits
    ? count
    : refuse(`tensor "${name}": expected at most ${MODEL_LIMIT_BYTES} elements, got [${dims.slice(0, 8).join(',')}]`);
}

function inlineData({ rawData, floatData, doubleData, dataType }: OnnxTensor): Uint8Array {
  if (rawData.length) return rawData;
  if (dataType === FLOAT) return floatData;
  return dataType === DOUBLE ? doubleData : rawData;
}

/** The values in a region; whole numbers beyond 2^53 are rounded. */
function decodeElements({ bytes, dataType }: Region): Float32Array | Float64Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const count = bytes.length / ELEMENT_BYTES.get(dataType)!;
  const fill = <Values extends Float32Array | Float64Array>(
    values: Values,
    read: (index: number) => number,
  ): Values => {
    for (let index = 0; index < count; index++) values[index] = read(index);
    return values;
  };
  switch (dataType) {
    case FLOAT:
      return new Float32Array(bytes.slice().buffer);
    case FLOAT16:
      return fill(new Float32Array(count), (index) => view.getFloat16(2 * index, true));
    case DOUBLE:
      return fill(new Float32Array(count), (index) => view.getFloat64(8 * index, true));
    case INT32:
      return fill(new Float64Array(count), (index) => view.getInt32(4 * index, true));
    case INT64:
      return fill(new Float64Array(count), (index) => Number(view.getBigInt64(8 * index, true)));
    default:
      return fill(new Float64Array(count), (index) => bytes[index]!);
  }
}

/** The bytes of values for a region, in its element type, rounded to it; refuses another number of them than the tensor of that name has. */
export function encodeElements(name: string, values: Float32Array, { bytes, dataType }: Region): Uint8Array {
  if (dataType !== FLOAT && dataType !== FLOAT16 && dataType !== DOUBLE) {
    refuse(`tensor "${name}": expected floating-point numbers in the file, got ONNX type ${dataType}`);
  }
  const count = bytes.length / ELEMENT_BYTES.get(dataType)!;
  if (values.length !== count) refuse(`tensor "${name}": expected ${count} values, got ${values.length}`);
  const result = new Uint8Array(bytes.length);
  const view = new DataView(result.buffer);
  values.forEach((value, index) => {
    if (dataType === FLOAT16) view.setFloat16(2 * index, value, true);
    else if (dataType === DOUBLE) view.setFloat64(8 * index, value, true);
    else view.setFloat32(4 * index, value, true);
  });
  return result;
}

function decodeVarints(bytes: Uint8Array, count: number, name: string): number[] {
  if (count > MOST_VARINTS) refuse(`tensor "${name}": expected at most ${MOST_VARINTS} numbers, got ${count}`);
  if (bytes.length > 10 * count) refuse(`tensor "${name}": expected ${count} numbers, got ${bytes.length} bytes`);
  const values: number[] = [];
  let value = 0n;
  let shift = 0n;
  for (const byte of bytes) {
    value |= BigInt(byte & 127) << shift;
    shift += 7n;
    if (byte > 127 && shift < 70n) continue;
    values.push(Number(BigInt.asIntN(64, value)));
    value = 0n;
    shift = 0n;
  }
  return values.length === count ? values : refuse(`tensor "${name}": expected ${count} numbers, got ${values.length}`);
}

/** Where the file says that a tensor lies outside of it, as it says it; undefined for a tensor that lies within, or nowhere. */
export const externalLocation = ({ dataLocation, externalData }: OnnxTensor): string | undefined =>
  dataLocation === EXTERNAL ? externalData.find(({ key }) => key === 'location')?.value : undefined;

/** Reads element data from a file beside the model (onnx.proto, TensorProto.external_data); the file must lie in the model's folder or below it. */
async function readExternal(tensor: OnnxTensor, sizeBytes: number, modelPath: string): Promise<Region> {
  const entry = (key: string): string | undefined => tensor.externalData.find((item) => item.key === key)?.value;
  const location = externalLocation(tensor) ?? '';
  const start = Number(entry('offset') ?? 0);
  const what = `tensor "${tensor.name}": external data "${location.slice(0, 200)}"`;
  const length = Number(entry('length') ?? sizeBytes);
  if (length !== sizeBytes) refuse(`${what}: expected ${sizeBytes} bytes, got a length of ${entry('length')}`);
  if (sizeBytes > MODEL_LIMIT_BYTES) refuse(`${what}: expected at most ${MODEL_LIMIT_BYTES} bytes, got ${sizeBytes}`);
  const file = join(dirname(modelPath), location);
  const outside = `${what}: expected a file in the folder of the model`;
  if (!location || isAbsolute(location)) refuse(outside);
  try {
    const inside = relative(await realpath(dirname(modelPath)), await realpath(file));
    if (isAbsolute(inside) || inside.split(sep)[0] === '..') refuse(outside);
    await using handle = await open(file);
    const stats = await handle.stat();
    if (!stats.isFile() || !Number.isSafeInteger(start) || start < 0 || start + sizeBytes > stats.size) {
      refuse(`${what}: expected ${sizeBytes} bytes from byte ${start}, got a file of ${stats.size}`);
    }
    const bytes = new Uint8Array(sizeBytes);
    await handle.read(bytes, 0, sizeBytes, start);
    return { file, start, bytes, dataType: tensor.dataType };
  } catch (error) {
    if (error instanceof Error && 'code' in error) refuse(`${what}: cannot be read (${String(error.code)})`);
    throw error;
  }
}
