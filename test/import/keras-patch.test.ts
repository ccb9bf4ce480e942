/** Weights written back into Keras files: which bytes change, and who reads them. */
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { unzipSync, zipSync } from 'fflate';
import { expect, it } from 'vitest';
import type { Draft } from '../../offline/import/imported.ts';
import { patchKeras, readKeras } from '../../offline/import/keras/keras.ts';
import { testDirectory } from '../support/directory.ts';

const folder = path.join(import.meta.dirname, '../models/keras');

async function draftOf(file: string): Promise<Draft> {
  const draft = await readKeras(file, {});
  if (!draft.ok) throw new Error(draft.error);
  return draft.value;
}

/** The positions at which two files of one length differ. */
async function differences(before: string, after: string): Promise<number[]> {
  const [old, changed] = await Promise.all([readFile(before), readFile(after)]);
  expect(changed.length).toBe(old.length);
  return [...changed.keys()].filter((index) => changed[index] !== old[index]);
}

/** The values that every weight of a draft has, by its place in the file. */
const valuesOf = ({ weights }: Draft): Map<string, Float32Array> =>
  new Map([...weights.values()].flatMap(({ data, from }) => (from ? [[from.tensor, data] as const] : [])));

const files = [
  'lenet.h5',
  'lenet.keras2.h5',
  'lenet.keras',
  'resnet.h5',
  'resnet.keras',
  'mobile.keras2.h5',
  'densenet.keras',
];

it.each(files)('%s with the values it has is the same file', async (name) => {
  const file = path.join(folder, name);
  const out = path.join(await testDirectory(), name);
  expect(await patchKeras(file, valuesOf(await draftOf(file)), out)).toEqual({ ok: true, value: null });
  expect(await differences(file, out)).toEqual([]);
});

it.each(files)('one changed tensor of %s changes its own bytes alone, and is read back', async (name) => {
  const file = path.join(folder, name);
  const out = path.join(await testDirectory(), name);
  const before = valuesOf(await draftOf(file));
  for (const [tensor, old] of [...before].filter((_, index) => index % 5 === 0)) {
    const values = old.map((value, index) => -value + 1 + index);
    const copy = `${out}-${tensor.replaceAll('/', '-')}`;
    expect(await patchKeras(file, new Map([[tensor, values]]), copy)).toEqual({ ok: true, value: null });
    expect(valuesOf(await draftOf(copy))).toEqual(new Map(before).set(tensor, values));

    const bytes = await readFile(file);
    const start = bytes.indexOf(Buffer.from(old.buffer, old.byteOffset, old.byteLength));
    const changed = await differences(file, copy);
    const outside = changed.filter((index) => index < start || index >= start + old.byteLength);
    expect(changed.length - outside.length).toBeGreaterThan(old.length);
    expect(outside.every((index) => crcPlaces(bytes).includes(index))).toBe(true);
    expect(outside.length > 0).toBe(name.endsWith('.keras'));
  }
});

/** Where the CRC-32 of the weights stands in a .keras file: in the header before it, and in the directory. */
function crcPlaces(bytes: Buffer): number[] {
  const header = bytes.indexOf('model.weights.h5') - 30;
  const entry = bytes.lastIndexOf('model.weights.h5') - 46;
  return [header + 14, entry + 16].flatMap((at) => [at, at + 1, at + 2, at + 3]);
}

it('a .keras file that was packed with compression is packed anew, with nothing else in it changed', async () => {
  const directory = await testDirectory();
  const [file, out] = [path.join(directory, 'packed.keras'), path.join(directory, 'out.keras')];
  const members = unzipSync(await readFile(path.join(folder, 'lenet.keras')));
  await writeFile(file, zipSync(members));
  const before = valuesOf(await draftOf(file));
  const [tensor, old] = [...before][0]!;
  const values = old.map((value) => value * 2);
  expect(await patchKeras(file, new Map([[tensor, values]]), out)).toEqual({ ok: true, value: null });
  expect(valuesOf(await draftOf(out))).toEqual(new Map(before).set(tensor, values));
  const { 'model.weights.h5': weights, ...rest } = unzipSync(await readFile(out));
  expect({ ...rest, 'model.weights.h5': members['model.weights.h5'] }).toEqual(members);
  expect(weights).not.toEqual(members['model.weights.h5']);
});

it.each([
  ['layers/conv2d/vars/9', 4, 'layers/conv2d/vars/9'],
  ['layers/conv2d/vars/1', 3, 'expected 3'],
])('refuses values for %s that are %d', async (tensor, length, said) => {
  const out = path.join(await testDirectory(), 'out.keras');
  const patched = await patchKeras(
    path.join(folder, 'lenet.keras'),
    new Map([[tensor, new Float32Array(length)]]),
    out,
  );
  expect(patched.ok ? 'patched' : patched.error).toContain(said);
  await expect(readFile(out)).rejects.toThrow('ENOENT');
});

it('never replaces a file that is there', async () => {
  const out = path.join(await testDirectory(), 'out.h5');
  await writeFile(out, 'kept');
  expect(await patchKeras(path.join(folder, 'lenet.h5'), new Map(), out)).toMatchObject({ ok: false });
  expect(await readFile(out, 'utf8')).toBe('kept');
});
