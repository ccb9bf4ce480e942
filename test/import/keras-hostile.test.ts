/** Keras files that were damaged, or made to do harm: always a sentence, never a crash, a hang or memory without bound. */
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { unzipSync, zipSync } from 'fflate';
import { expect, it } from 'vitest';
import { completeDraft, type ImportedModel } from '../../offline/import/imported.ts';
import { readKeras } from '../../offline/import/keras/keras.ts';
import type { Result } from '../../src/result.ts';
import { testDirectory } from '../support/directory.ts';
import { mutate } from './mutate.ts';
import { mutateJson } from './mutate-json.ts';

const folder = path.join(import.meta.dirname, '../models/keras');
const MEMORY_LIMIT_KIB = 2 ** 20;

async function importBytes(file: string, bytes: Uint8Array): Promise<Result<ImportedModel>> {
  await writeFile(file, bytes);
  const draft = await readKeras(file, {});
  return draft.ok ? completeDraft(draft.value, {}) : draft;
}

/** Imports 2,000 damaged copies; all but a few are refused, each with a sentence. */
async function importAll(damaged: (seed: number) => Uint8Array): Promise<void> {
  const file = path.join(await testDirectory(), 'model');
  const errors: string[] = [];
  for (let seed = 0; seed < 2000; seed++) {
    const model = await importBytes(file, damaged(seed));
    if (!model.ok) errors.push(model.error);
  }
  expect(errors.length).toBeGreaterThan(1000);
  expect(errors.filter((error) => error.length === 0 || error.length > 2000)).toEqual([]);
  expect(process.resourceUsage().maxRSS).toBeLessThan(MEMORY_LIMIT_KIB);
}

it('2,000 damaged .h5 files are imported or refused', { timeout: 300_000 }, async () => {
  const sources = ['lenet.h5', 'mobile.keras2.h5', 'densenet.h5'].map((name) => readFileSync(path.join(folder, name)));
  await importAll((seed) => mutate(new Uint8Array(sources[seed % sources.length]!), seed));
});

it('2,000 damaged .keras files are imported or refused', { timeout: 300_000 }, async () => {
  const sources = ['lenet.keras', 'grouped.keras', 'resnet.keras', 'densenet.keras'].map(
    (name) => new Uint8Array(readFileSync(path.join(folder, name))),
  );
  await importAll((seed) => {
    const source = sources[seed % sources.length]!;
    const damage = Math.floor(seed / sources.length) % 4;
    if (damage === 0) return mutate(source, seed);
    const members = unzipSync(source);
    const name = damage === 1 ? 'model.weights.h5' : 'config.json';
    const text = new TextDecoder().decode(members['config.json']);
    const changed = damage === 3 ? new TextEncoder().encode(mutateJson(text, seed)) : mutate(members[name]!, seed);
    return zipSync({ ...members, [name]: changed }, { level: 0 });
  });
});
