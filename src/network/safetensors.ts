/**
 * Safetensors, the file of named tensors: u64 header length, JSON header, then the data without holes or overlap
 * (format: https://github.com/huggingface/safetensors, "Format"). Narrower than the format: headers up to 16 MiB, and only
 * the element types this program computes with. The header alone tells where every tensor lies, so that a reader of byte
 * ranges can fetch one tensor at a time: `headerSizeBytes`, `readHeader`, `decodeTensor`.
 */
import * as z from 'zod';
import { failure, success, type Result } from '../result.ts';
import type { Shape } from './network.ts';

export type HostTensor =
  | { readonly dtype: 'F32'; readonly shape: Shape; readonly data: Float32Array }
  | { readonly dtype: 'U8'; readonly shape: Shape; readonly data: Uint8Array }
  | { readonly dtype: 'I32'; readonly shape: Shape; readonly data: Int32Array };
export type HostWeights = ReadonlyMap<string, HostTensor>;

/** Where one tensor lies: `start` (included) and `end` (excluded) are byte offsets from the start of the file. */
export type TensorRange = { dtype: Dtype; shape: Shape; start: number; end: number };
export type SafetensorsHeader = {
  tensors: Map<string, TensorRange>;
  metadata: Record<string, string>;
  fileSizeBytes: number;
};
export type Dtype = 'F32' | 'U8' | 'I32' | 'I64';

// Part of the Encoding Standard and of every engine this runs on, but not of the ES library that src/ is typed against.
declare const TextEncoder: new () => { encode(text: string): Uint8Array };
declare const TextDecoder: new (label: 'utf-8', options: { fatal: true }) => { decode(bytes: Uint8Array): string };

const MAX_HEADER_BYTES = 16 * 1024 * 1024;
const LENGTH_BYTES = 8;
const METADATA = '__metadata__';
const ELEMENT_BYTES: ReadonlyMap<string, number> = new Map<Dtype, number>([
  ['F32', 4],
  ['U8', 1],
  ['I32', 4],
  ['I64', 8],
]);

const offset = z
  .int()
  .min(0)
  .max(2 ** 48);
const entrySchema = z.strictObject({
  dtype: z.string(),
  shape: z.array(offset).max(16),
  data_offsets: z.tuple([offset, offset]),
});
const metadataSchema = z.record(z.string(), z.string());

/** How many bytes from the start of a file hold its header, by its first 8 bytes. */
export function headerSizeBytes(bytes: Uint8Array): Result<number> {
  if (bytes.length < LENGTH_BYTES) {
    return failure(`safetensors: expected at least ${LENGTH_BYTES} bytes, got ${bytes.length}`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, LENGTH_BYTES);
  const length = view.getBigUint64(0, true);
  if (length > MAX_HEADER_BYTES) {
    return failure(`safetensors: header length: expected at most ${MAX_HEADER_BYTES} bytes, got ${length}`);
  }
  return success(LENGTH_BYTES + Number(length));
}

/** Reads the header of a file from a prefix that holds all of it; tensors are listed in the order of their data. */
export function readHeader(bytes: Uint8Array): Result<SafetensorsHeader> {
  const size = headerSizeBytes(bytes);
  if (!size.ok) return size;
  if (bytes.length < size.value) {
    return failure(`safetensors: header: expected ${size.value} bytes, got ${bytes.length} (truncated?)`);
  }
  const json = parseObject(bytes.subarray(LENGTH_BYTES, size.value));
  if (!json.ok) return json;
  const { [METADATA]: givenMetadata = {}, ...entries } = json.value;
  const metadata = metadataSchema.safeParse(givenMetadata);
  if (!metadata.success) return failure(`safetensors: header: ${METADATA}: expected an object of strings`);

  const ranges: [string, TensorRange][] = [];
  for (const [name, entry] of Object.entries(entries)) {
    const range = tensorRange(entry, size.value);
    if (!range.ok) return failure(`safetensors: tensor ${JSON.stringify(name)}: ${range.error}`);
    ranges.push([name, range.value]);
  }
  ranges.sort(([, a], [, b]) => a.start - b.start || a.end - b.end);
  let end = size.value;
  for (const [name, range] of ranges) {
    if (range.start !== end) {
      const what = range.start < end ? 'overlaps the tensor before it' : 'leaves a hole before it';
      return failure(`safetensors: tensor ${JSON.stringify(name)}: data_offsets: ${what}`);
    }
    end = range.end;
  }
  return success({ tensors: new Map(ranges), metadata: metadata.data, fileSizeBytes: end });
}

/** Decodes one tensor from exactly its own bytes; the data are a view of them where they are aligned, else a copy. */
export function decodeTensor(name: string, range: TensorRange, bytes: Uint8Array): Result<HostTensor> {
  const { dtype, shape, start, end } = range;
  const label = `safetensors: tensor ${JSON.stringify(name)}`;
  if (bytes.length !== end - start) return failure(`${label}: expected ${end - start} bytes, got ${bytes.length}`);
  if (dtype === 'U8') return success({ dtype, shape, data: bytes });
  const count = bytes.length / ELEMENT_BYTES.get(dtype)!;
  if (dtype === 'I64') {
    const data = narrow(bytes, count);
    return data ? success({ dtype: 'I32', shape, data }) : failure(`${label}: an I64 value does not fit in 32 bits`);
  }
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : new Uint8Array(bytes);
  const { buffer, byteOffset } = aligned;
  return success(
    dtype === 'F32'
      ? { dtype, shape, data: new Float32Array(buffer, byteOffset, count) }
      : { dtype, shape, data: new Int32Array(buffer, byteOffset, count) },
  );
}

/** Decodes a whole file: F32, U8 and I32 as they are, I64 as I32 if every value fits; the error names the tensor. */
export function decodeSafetensors(
  bytes: Uint8Array,
): Result<{ tensors: Map<string, HostTensor>; metadata: Record<string, string> }> {
  const header = readHeader(bytes);
  if (!header.ok) return header;
  const { tensors: ranges, metadata, fileSizeBytes } = header.value;
  if (bytes.length !== fileSizeBytes) {
    return failure(`safetensors: expected ${fileSizeBytes} bytes by the header, got ${bytes.length}`);
  }
  const tensors = new Map<string, HostTensor>();
  for (const [name, range] of ranges) {
    const tensor = decodeTensor(name, range, bytes.subarray(range.start, range.end));
    if (!tensor.ok) return tensor;
    tensors.set(name, tensor.value);
  }
  return success({ tensors, metadata });
}

/** Encodes tensors in the order given; equal input gives equal bytes, and the data start at a multiple of 8 bytes. */
export function encodeSafetensors(tensors: HostWeights, metadata?: Record<string, string>): Uint8Array<ArrayBuffer> {
  const fields = metadata ? [`"${METADATA}":${JSON.stringify(metadata)}`] : [];
  let end = 0;
  for (const [name, { dtype, shape, data }] of tensors) {
    if (name === METADATA || byteLength(dtype, shape) !== data.byteLength) {
      throw new Error(`safetensors: tensor "${name}" [${shape.join(',')}] cannot hold ${data.length} ${dtype} values`);
    }
    const start = end;
    end += data.byteLength;
    fields.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [start, end] })}`);
  }
  const text = new TextEncoder().encode(`{${fields.join(',')}}`);
  const headerBytes = Math.ceil(text.length / 8) * 8;
  const bytes = new Uint8Array(LENGTH_BYTES + headerBytes + end);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(headerBytes), true);
  bytes.fill(0x20, LENGTH_BYTES, LENGTH_BYTES + headerBytes);
  bytes.set(text, LENGTH_BYTES);
  let position = LENGTH_BYTES + headerBytes;
  for (const { data } of tensors.values()) {
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), position);
    position += data.byteLength;
  }
  return bytes;
}

function parseObject(bytes: Uint8Array): Result<Record<string, unknown>> {
  try {
    const json: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
    if (typeof json === 'object' && json !== null && !Array.isArray(json)) {
      return success(json as Record<string, unknown>);
    }
  } catch {
    // Falls through: bytes that are no JSON are refused like JSON that is no object.
  }
  return failure('safetensors: header: expected a JSON object in UTF-8');
}

function tensorRange(entry: unknown, dataStart: number): Result<TensorRange> {
  const parsed = entrySchema.safeParse(entry);
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    return failure(`${issue.path.join('.') || 'entry'}: ${issue.message}`);
  }
  const { dtype, shape, data_offsets } = parsed.data;
  if (!isDtype(dtype)) return failure(`dtype: expected one of ${[...ELEMENT_BYTES.keys()].join(', ')}, got ${dtype}`);
  const [start, end] = data_offsets;
  const expected = byteLength(dtype, shape);
  if (end - start !== expected) {
    return failure(`data_offsets: expected ${expected} bytes for ${dtype} [${shape.join(',')}], got ${end - start}`);
  }
  return success({ dtype, shape, start: dataStart + start, end: dataStart + end });
}

const isDtype = (dtype: string): dtype is Dtype => ELEMENT_BYTES.has(dtype);

/** Infinity when the product leaves the safe integers, which then matches no length. */
function byteLength(dtype: Dtype, shape: Shape): number {
  let bytes = ELEMENT_BYTES.get(dtype)!;
  for (const axis of shape) {
    bytes *= axis;
    if (!Number.isSafeInteger(bytes)) return Infinity;
  }
  return bytes;
}

function narrow(bytes: Uint8Array, count: number): Int32Array | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const data = new Int32Array(count);
  for (let index = 0; index < count; index += 1) {
    data[index] = view.getInt32(index * 8, true);
    if (view.getInt32(index * 8 + 4, true) !== data[index]! >> 31) return undefined;
  }
  return data;
}
