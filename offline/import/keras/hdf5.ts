/** HDF5 files, read and patched by the HDF5 library in a thread of its own, because a hostile file may loop or trap there. */
import { Worker } from 'node:worker_threads';
import { failure, success, type Result } from '../../../src/result.ts';
import type { FileArray } from './layer-class.ts';

/** What the thread does with one file: overwrite the data sets named in `values`, then read those below `groups`. */
export type Hdf5Task = {
  bytes: Uint8Array;
  groups: readonly string[];
  /** The text attribute of the root to read. */
  attribute: string;
  values: ReadonlyMap<string, Float32Array>;
};

/** The data sets by their paths, and the text where the root has it; with values, the file that holds them and how many bytes they changed. */
export type Hdf5Content = { arrays: FileArray[]; text: string | null; bytes: Uint8Array | null; changedBytes: number };

/** `kept` is false when the thread must not be given another file. */
export type Hdf5Answer = { result: Result<Hdf5Content>; kept: boolean };

const TIME_LIMIT_MS = 15_000;
const resourceLimits = { maxOldGenerationSizeMb: 1024 };
const SIGNATURE = [0x89, 0x48, 0x44, 0x46, 0x0d, 0x0a, 0x1a, 0x0a];

/** Whether bytes begin as an HDF5 file does. */
export const isHdf5 = (bytes: Uint8Array): boolean => SIGNATURE.every((byte, index) => bytes[index] === byte);

/** Reads the floating-point data sets below `groups`, and the text attribute of the root; takes the bytes away from the caller. */
export const readHdf5 = (
  bytes: Uint8Array,
  groups: readonly string[],
  attribute: string,
): Promise<Result<Hdf5Content>> => inThread({ bytes, groups, attribute, values: new Map() });

/**
 * The bytes of an HDF5 file in which data sets, named by their paths, hold other values, as many as before; all other bytes are
 * as they were. Fails for a data set stored in chunks, whose place would change.
 */
export async function patchHdf5(
  bytes: Uint8Array,
  values: ReadonlyMap<string, Float32Array>,
): Promise<Result<Uint8Array>> {
  const patched = await inThread({ bytes: bytes.slice(), groups: [], attribute: '', values });
  if (!patched.ok) return patched;
  const after = patched.value.bytes ?? bytes;
  const differing = after.reduce((total, byte, index) => total + (byte === bytes[index] ? 0 : 1), 0);
  if (after.length !== bytes.length || differing !== patched.value.changedBytes) {
    return failure('the HDF5 library would change more of the file than the weights');
  }
  return success(after);
}

/** Threads that wait for a file; starting one compiles the library, and they do not keep the process alive. */
const idle: Worker[] = [];

async function inThread(task: Hdf5Task): Promise<Result<Hdf5Content>> {
  const worker = idle.pop() ?? new Worker(new URL('./hdf5-thread.ts', import.meta.url), { resourceLimits });
  const { promise, resolve } = Promise.withResolvers<Hdf5Answer>();
  const end = (error: string): void => resolve({ result: failure(error), kept: false });
  const crash = (): void => end('expected an HDF5 file, got one on which the HDF5 library crashes');
  const timer = setTimeout(() => end(`reading the file took too long (over ${TIME_LIMIT_MS / 1000} s)`), TIME_LIMIT_MS);
  worker.on('message', resolve).on('error', crash).on('exit', crash);
  worker.ref();
  worker.postMessage(task, [task.bytes.buffer as ArrayBuffer]);
  const { result, kept } = await promise;
  clearTimeout(timer);
  worker.off('message', resolve).off('error', crash).off('exit', crash).unref();
  if (kept) idle.push(worker);
  else await worker.terminate();
  return result;
}
