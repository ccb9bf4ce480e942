/** Work that can be stopped: what each stage gave is kept in a folder, and the same work takes it from there when it is run again. */
import { createHash } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { deserialize, serialize } from 'node:v8';
import { replaceFile } from './directory.ts';
import type { Progress } from './progress.ts';

const DIGEST_BYTES = 32;

const sha256 = (data: string | Uint8Array): Buffer => createHash('sha256').update(data).digest();

/**
 * Progress whose stages are kept in `folder`. `work` names everything that the results depend on; stages are told apart by their order,
 * name and label, so they must come in the same order every time. Their values must be structured-cloneable. A kept stage that is
 * damaged is run again. Throws where the folder cannot be written.
 */
export function resumable(progress: Progress, folder: string, work: readonly (string | number | boolean)[]): Progress {
  let order = 0;
  return {
    async stage(name, label, run) {
      const key = sha256(JSON.stringify([...work, order++, name, label])).toString('hex');
      const file = join(folder, `${name}-${key.slice(0, 16)}`);
      const kept = await readKept(file);
      // A kept value has the type of its stage: the key says whose it is.
      if (kept) return progress.stage(name, `${label}, as kept`, () => Promise.resolve(kept.value as never));
      const value = await progress.stage(name, label, run);
      await keep(folder, file, value);
      return value;
    },
  };
}

async function keep(folder: string, file: string, value: unknown): Promise<void> {
  const data = serialize({ value });
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await replaceFile(file, [sha256(data), data]);
}

async function readKept(file: string): Promise<{ value: unknown } | undefined> {
  const bytes = await readFile(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  const data = bytes?.subarray(DIGEST_BYTES);
  if (!bytes || !data || !sha256(data).equals(bytes.subarray(0, DIGEST_BYTES))) return undefined;
  return deserialize(data) as { value: unknown };
}
