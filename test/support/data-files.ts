/** Files of a test in a temporary folder of their own, which goes when the test file is done. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll } from 'vitest';
import { loadDataset } from '../../offline/data/load.ts';

const root = mkdtemp(path.join(os.tmpdir(), 'trigger-guard-data-'));
let folders = 0;
afterAll(async () => rm(await root, { recursive: true }));

/** Writes files into a new folder and gives its path. */
export async function writeFiles(files: Record<string, Uint8Array>): Promise<string> {
  folders += 1;
  const place = path.join(await root, String(folders));
  await mkdir(place);
  for (const [name, bytes] of Object.entries(files)) {
    await mkdir(path.dirname(path.join(place, name)), { recursive: true });
    await writeFile(path.join(place, name), bytes);
  }
  return place;
}

/** The error of loading `name` (or the folder itself) among `files`, with the folder's own path as DATA. */
export async function loadError(files: Record<string, Uint8Array>, name = ''): Promise<string> {
  const place = await writeFiles(files);
  const result = await loadDataset(path.join(place, name));
  return result.ok ? 'loaded' : result.error.replaceAll(place, 'DATA');
}

/** UTF-8 bytes of a text. */
export const text = (value: string): Uint8Array => new TextEncoder().encode(value);

/** Bytes that count up from `start`. */
export const counting = (length: number, start: number): Uint8Array =>
  Uint8Array.from({ length }, (_, index) => start + index);
