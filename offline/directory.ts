/** Directories of a few files that are written whole or not at all, and read within limits. */
import { lstat, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { failure, success, type Result } from '../src/result.ts';

/** Writes files into a new directory: first beside it under a temporary name, then renamed; refuses a directory that holds anything. */
export async function writeDirectory(directory: string, files: ReadonlyMap<string, Uint8Array>): Promise<Result<null>> {
  const target = resolve(directory);
  let temporary: string | undefined;
  try {
    await mkdir(dirname(target), { recursive: true });
    temporary = await mkdtemp(join(dirname(target), `.${basename(target)}-`));
    for (const [name, bytes] of files) await writeFile(join(temporary, name), bytes, { flush: true });
    // A rename replaces an empty directory and nothing else, in one step.
    await rename(temporary, target);
    return success(null);
  } catch (error) {
    if (temporary) await rm(temporary, { recursive: true, force: true });
    const { code, message } = error as NodeJS.ErrnoException;
    const taken = code === 'ENOTEMPTY' || code === 'EEXIST' || code === 'ENOTDIR';
    return failure(`${directory}: ${taken ? 'expected a new or empty directory' : `cannot be written (${message})`}`);
  }
}

/** Reads the files of a directory that have a limit in bytes; refuses any other entry, links, and files beyond their limit. */
export async function readDirectory(
  directory: string,
  limitsBytes: ReadonlyMap<string, number>,
): Promise<Result<Map<string, Uint8Array<ArrayBuffer>>>> {
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  try {
    for (const name of (await readdir(directory)).toSorted()) {
      const path = join(directory, name);
      const limitBytes = limitsBytes.get(name);
      if (limitBytes === undefined) return failure(`${path}: expected only ${[...limitsBytes.keys()].join(', ')}`);
      const entry = await lstat(path);
      if (!entry.isFile()) return failure(`${path}: expected a plain file`);
      if (entry.size > limitBytes) return failure(`${path}: expected at most ${limitBytes} bytes, got ${entry.size}`);
      files.set(name, new Uint8Array(await readFile(path)));
    }
    return success(files);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const missing = code === 'ENOENT' || code === 'ENOTDIR';
    return failure(`${directory}: ${missing ? 'no such directory' : `cannot be read (${message})`}`);
  }
}
