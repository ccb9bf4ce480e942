/** Directories of a few files: written whole or not at all, read within limits. */
import { randomUUID } from 'node:crypto';
import { link, lstat, mkdir, open, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { failure, success, type Result } from '../src/result.ts';

/** Writes files into a new or empty directory: first beside it under a temporary name, then renamed; refuses a directory that holds anything. */
export async function writeDirectory(directory: string, files: ReadonlyMap<string, Uint8Array>): Promise<Result<null>> {
  const target = resolve(directory);
  const temporary = join(dirname(target), `.${basename(target)}-${randomUUID()}`);
  try {
    await mkdir(temporary, { recursive: true });
    for (const [name, bytes] of files) {
      const file = join(temporary, name);
      await mkdir(dirname(file), { recursive: true });
      await writeFile(file, bytes, { flush: true });
    }
    // A rename replaces an empty directory and nothing else, in one step.
    await rename(temporary, target);
    return success(null);
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    const { code, message } = error as NodeJS.ErrnoException;
    const taken = code === 'ENOTEMPTY' || code === 'EEXIST' || code === 'ENOTDIR';
    return failure(`${directory}: ${taken ? 'expected a new or empty directory' : `cannot be written (${message})`}`);
  }
}

/** Writes a new file: first beside it under a temporary name; refuses to replace what is there. */
export async function writeNewFile(file: string, bytes: Uint8Array): Promise<Result<null>> {
  const target = resolve(file);
  const temporary = join(dirname(target), `.${basename(target)}-${randomUUID()}`);
  try {
    await mkdir(dirname(target), { recursive: true });
    await writeFile(temporary, bytes, { flush: true });
    // Unlike a rename, a link never replaces a file that came in the meantime.
    await link(temporary, target);
    return success(null);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return failure(`${file}: ${code === 'EEXIST' ? 'expected a new file' : `cannot be written (${message})`}`);
  } finally {
    await rm(temporary, { force: true });
  }
}

/** Writes a file, new or in place of the one there: first beside it under a temporary name, so that there is a whole one at all times. Throws as the file system does. */
export async function replaceFile(file: string, bytes: Uint8Array | readonly Uint8Array[]): Promise<void> {
  const temporary = `${file}-${randomUUID()}`;
  try {
    await writeFile(temporary, bytes, { flush: true });
    await rename(temporary, file);
  } finally {
    await rm(temporary, { force: true });
  }
}

/** Whether something lies at a path. */
export const isTaken = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

/** Reads the files of a directory in which every name has a limit in bytes; refuses other names, links, and files beyond their limit. */
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
      if (!(await lstat(path)).isFile()) return failure(`${path}: expected a plain file`);
      const bytes = await readWithin(path, limitBytes);
      if (!bytes.ok) return bytes;
      files.set(name, bytes.value);
    }
    return success(files);
  } catch (error) {
    return failure(`${directory}: cannot be read (${(error as Error).message})`);
  }
}

/** Reads a file of at most `limitBytes`; its size is known before its content is held in memory. */
export async function readWithin(path: string, limitBytes: number): Promise<Result<Uint8Array<ArrayBuffer>>> {
  try {
    await using file = await open(path);
    const stats = await file.stat();
    if (!stats.isFile()) return failure(`${path}: expected a file`);
    if (stats.size > limitBytes) return failure(`${path}: expected at most ${limitBytes} bytes, got ${stats.size}`);
    return success(new Uint8Array(await file.readFile()));
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return failure(`${path}: ${code === 'ENOENT' ? 'no such file' : `cannot be read (${message})`}`);
  }
}
