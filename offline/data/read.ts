import { readFile, stat } from 'node:fs/promises';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { failure, success, type Result } from '../../src/result.ts';

/** The most that a data file may hold, before and after decompression, and a data set in memory: 2 GiB less a byte. */
export const MAX_DATASET_BYTES = 2 ** 31 - 1;

const inflate = promisify(gunzip);

/** Why the system refused a path, in words; throws what is no refusal of the system. */
export function systemReason(error: unknown): string {
  if (!(error instanceof Error && 'code' in error)) throw error;
  const code = String(error.code);
  const reasons: Record<string, string> = {
    ENOENT: 'no such file or folder',
    ENOTDIR: 'no such file or folder',
    EACCES: 'permission denied',
    EISDIR: 'it is a folder',
  };
  return reasons[code] ?? code;
}

/** Reads a whole file of at most `MAX_DATASET_BYTES`, and decompresses it if its name ends in .gz. Fails if it cannot. */
export async function readDataFile(path: string): Promise<Result<Uint8Array>> {
  try {
    const { size } = await stat(path);
    if (size > MAX_DATASET_BYTES) return tooLarge(path, `${size} bytes`);
    const bytes = await readFile(path);
    return path.endsWith('.gz') ? await decompress(path, bytes) : success(plain(bytes));
  } catch (error) {
    return failure(`${path}: cannot be read: ${systemReason(error)}`);
  }
}

// A Buffer's slice() shares its memory, where that of every other Uint8Array copies.
const plain = (bytes: Buffer): Uint8Array => new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);

const tooLarge = (path: string, got: string): Result<never> =>
  failure(`${path}: expected at most ${MAX_DATASET_BYTES} bytes, got ${got}`);

async function decompress(path: string, bytes: Uint8Array): Promise<Result<Uint8Array>> {
  try {
    return success(plain(await inflate(bytes, { maxOutputLength: MAX_DATASET_BYTES })));
  } catch (error) {
    if (error instanceof RangeError) return tooLarge(path, 'more after decompression');
    return failure(
      `${path}: truncated or corrupt gzip file: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}
