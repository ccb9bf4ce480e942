/**
 * The entry of the thread that runs the HDF5 library on files nobody has vouched for: it may loop or trap there, and hdf5.ts ends it.
 * The library sees one file, in memory; it has no way to the files of this machine.
 */
import { parentPort } from 'node:worker_threads';
import type { Group } from 'h5wasm';
import { failure, success, type Result } from '../../../src/result.ts';
import { MODEL_LIMIT_BYTES } from '../imported.ts';
import type { Hdf5Answer, Hdf5Content, Hdf5Task } from './hdf5.ts';
import type { FileArray } from './layer-class.ts';

/** What the library may take beside the file itself, whatever sizes a file claims. */
const HEAP_LIMIT_BYTES = 2 ** 29;
/** A heap that a file has filled so far is not kept for the next file. */
const HEAP_KEPT_BYTES = 2 ** 26;
const MAX_OBJECTS = 50_000;
const MAX_DEPTH = 40;
const FLOAT = 1;
const STRING = 3;

declare const WebAssembly: { Memory: { prototype: Memory } };
type Memory = { readonly buffer: ArrayBuffer; grow(pages: number): number };

const memory = WebAssembly.Memory.prototype;
const { grow } = memory;
memory.grow = function (this: Memory, pages: number): number {
  if (this.buffer.byteLength + pages * 2 ** 16 > HEAP_LIMIT_BYTES) throw new RangeError('expected less memory');
  return grow.call(this, pages);
};
// The library prints a page for every failure.
console.error = () => {};

const { File, ready } = await import('h5wasm');
const library = await ready;
const files = library.FS;
// Devices behind which this process's own input lies; a file may name them as the place of its data.
for (const device of ['stdin', 'tty', 'tty1']) files.unlink(`/dev/${device}`);

const damaged = failure('expected an HDF5 file, got one that is damaged');
const port = parentPort!;
port.on('message', (task: Hdf5Task) => {
  const answer = attempt(task);
  const { result } = answer;
  const arrays = result.ok ? result.value.arrays.map(({ data }) => data.buffer as ArrayBuffer) : [];
  const bytes = result.ok && result.value.bytes ? [result.value.bytes.buffer as ArrayBuffer] : [];
  port.postMessage(answer, [...arrays, ...bytes]);
});

function attempt(task: Hdf5Task): Hdf5Answer {
  try {
    return { result: run(task), kept: library.HEAPU8.length <= HEAP_KEPT_BYTES };
  } catch (error) {
    // What h5wasm says itself begins so; after a trap nothing in the library can be relied on.
    const said = error instanceof Error && error.message.startsWith('error - ');
    return { result: damaged, kept: said && library.HEAPU8.length <= HEAP_KEPT_BYTES };
  }
}

function run(task: Hdf5Task): Result<Hdf5Content> {
  const name = `model-${performance.now()}.h5`;
  files.createDataFile('/', name, task.bytes, true, true, true);
  try {
    const done = useFile(`/${name}`, task);
    if (!done.ok || task.values.size === 0) return done;
    return success({ ...done.value, bytes: files.readFile(`/${name}`) });
  } finally {
    files.unlink(`/${name}`);
  }
}

function useFile(name: string, { bytes, groups, attribute, values }: Hdf5Task): Result<Hdf5Content> {
  const file = new File(name, values.size > 0 ? 'a' : 'r');
  if (file.file_id < 0n) return damaged;
  try {
    const changedBytes = replaceAll(file.file_id, values);
    if (!changedBytes.ok) return changedBytes;
    const content = readAll(file, groups, attribute, bytes.length);
    return content.ok ? success({ ...content.value, changedBytes: changedBytes.value, bytes: null }) : content;
  } finally {
    file.close();
  }
}

/** Reads the data sets of floating point below the groups, and a text of the root where there is one. */
function readAll(
  file: Group,
  groups: readonly string[],
  attribute: string,
  fileBytes: number,
): Result<Pick<Hdf5Content, 'arrays' | 'text'>> {
  const arrays: FileArray[] = [];
  let bytes = 0;
  const waiting = groups.map((path) => ({ path, depth: 0 }));
  for (const { path, depth } of waiting) {
    const type = library.get_type(file.file_id, `/${path}`);
    if (type === library.H5G_GROUP) {
      const names = library.get_names(file.file_id, `/${path}`, false);
      // Groups may hold each other.
      if (waiting.length + names.length > MAX_OBJECTS || depth > MAX_DEPTH) {
        return failure(`expected at most ${MAX_OBJECTS} data sets and groups, ${MAX_DEPTH} deep, got more`);
      }
      waiting.push(...names.map((name) => ({ path: `${path}/${name}`, depth: depth + 1 })));
    } else if (type === library.H5G_DATASET) {
      const metadata = library.get_dataset_metadata(file.file_id, `/${path}`);
      if (metadata.type !== FLOAT || !metadata.shape || ![2, 4, 8].includes(metadata.size)) continue;
      const size = metadata.size * metadata.total_size;
      bytes += size;
      if (!(size <= fileBytes && bytes <= MODEL_LIMIT_BYTES)) {
        return failure(`data set "${path}": expected no more than the file's ${fileBytes} bytes, got ${size}`);
      }
      const raw = readRaw(file.file_id, path, size);
      if (!raw) return failure(`data set "${path}": cannot be read`);
      arrays.push({ tensor: path, shape: metadata.shape, data: decode(raw, metadata.size) });
    }
  }
  return success({ arrays, text: readText(file, attribute, fileBytes) });
}

function readText(file: Group, attribute: string, limitBytes: number): string | null {
  if (!library.get_attribute_names(file.file_id, '/').includes(attribute)) return null;
  const { type, size, total_size: count } = library.get_attribute_metadata(file.file_id, '/', attribute);
  if (type !== STRING || count !== 1 || size > limitBytes) return null;
  const text = [file.get_attribute(attribute, false)].flat()[0];
  return typeof text === 'string' ? text : null;
}

/** Reads a data set as it lies in the file; null where that fails. */
function readRaw(fileId: bigint, path: string, size: number): ArrayBuffer | null {
  const pointer = library._malloc(Math.max(size, 1));
  if (pointer === 0) return null;
  const status = library.get_dataset_data(fileId, `/${path}`, null, null, null, BigInt(pointer));
  const raw = library.HEAPU8.slice(pointer, pointer + size).buffer;
  library._free(pointer);
  return status < 0 ? null : raw;
}

function decode(raw: ArrayBuffer, size: number): Float32Array {
  if (size === 4) return new Float32Array(raw);
  return Float32Array.from(size === 8 ? new Float64Array(raw) : new Float16Array(raw));
}

function encode(values: Float32Array, size: number): Uint8Array {
  const typed = size === 8 ? new Float64Array(values) : size === 2 ? new Float16Array(values) : values;
  return new Uint8Array(typed.buffer, typed.byteOffset, typed.byteLength);
}

/** Overwrites data sets and gives the number of bytes that differ from before. */
function replaceAll(fileId: bigint, values: ReadonlyMap<string, Float32Array>): Result<number> {
  let changed = 0;
  for (const [path, tensor] of values) {
    if (library.get_type(fileId, `/${path}`) !== library.H5G_DATASET) return failure(`data set "${path}": not there`);
    const { type, size, total_size: count, chunks } = library.get_dataset_metadata(fileId, `/${path}`);
    if (type !== FLOAT || count !== tensor.length || chunks) {
      return failure(`data set "${path}": expected ${tensor.length} floating-point numbers, not in chunks`);
    }
    const before = readRaw(fileId, path, size * count);
    if (!before) return failure(`data set "${path}": cannot be read`);
    const old = new Uint8Array(before);
    const after = encode(tensor, size);
    const pointer = library._malloc(Math.max(after.length, 1));
    if (pointer === 0) return failure(`data set "${path}": cannot be written`);
    library.HEAPU8.set(after, pointer);
    const status = library.set_dataset_data(fileId, `/${path}`, null, null, null, BigInt(pointer));
    library._free(pointer);
    if (status < 0) return failure(`data set "${path}": cannot be written`);
    changed += after.reduce((total, byte, index) => total + (byte === old[index] ? 0 : 1), 0);
  }
  return success(changed);
}
