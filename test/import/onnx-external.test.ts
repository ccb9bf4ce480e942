/** ONNX files whose weights lie in another file, where they should and where they should not. */
import { copyFile, mkdir, readdir, symlink, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { patchOnnx } from '../../offline/import/onnx/patch.ts';
import { readOnnx } from '../../offline/import/onnx/onnx.ts';
import { testDirectory } from '../support/directory.ts';
import { classifier, onnxBytes, type Tensor } from './onnx-build.ts';
import { onnxFile } from './onnx-fixtures.ts';

const kernel = Float32Array.of(1, 2, 3, 4, 5, 6);

let root: string;
let folder: string;
let file: string;
beforeEach(async () => {
  root = await testDirectory();
  folder = path.join(root, 'folder');
  file = path.join(folder, 'model.onnx');
  await mkdir(path.join(folder, 'below'), { recursive: true });
  for (const place of ['outside.data', 'folder/weights.data', 'folder/below/weights.data']) {
    await writeFile(path.join(root, place), new Uint8Array(kernel.buffer));
  }
});

/** Writes a model whose convolution has its kernel in another file, as these entries say. */
async function writeModel(entries: Record<string, string>): Promise<void> {
  const { nodes, initializers } = classifier('images');
  const externalData = Object.entries(entries).map(([key, value]) => ({ key, value }));
  const tensors = initializers.map((tensor): Tensor => {
    const { name, dims, dataType } = tensor;
    return name === 'kernel' ? { name, dims, dataType, dataLocation: 1, externalData } : tensor;
  });
  await writeFile(file, onnxBytes({ nodes, initializers: tensors }));
}

async function readError(entries: Record<string, string>): Promise<string> {
  await writeModel(entries);
  const draft = await readOnnx(file, {});
  const out = path.join(root, 'copy.onnx');
  const patched = await patchOnnx(file, new Map([['kernel', kernel]]), out);
  expect(patched.ok, 'patched').toBe(draft.ok);
  if (!draft.ok) expect(await readdir(root)).not.toContain('copy.onnx');
  return draft.ok ? 'imported' : draft.error.replaceAll(file, 'FILE').replaceAll(root, 'ROOT');
}

describe('imported: weights', () => {
  it.each([
    ['beside the model', { location: 'weights.data' }],
    ['in a folder below it', { location: 'below/weights.data', offset: '0', length: '24' }],
    ['reached by a way within the folder', { location: 'below/../weights.data' }],
  ])('%s', async (_, entries) => {
    await writeModel(entries);
    const draft = await readOnnx(file, {});
    const weight = draft.ok && draft.value.weights.get('node_of_conv/kernel');
    // [2,3,1,1] to [1,1,3,2].
    expect(weight && weight.data).toEqual(Float32Array.of(1, 4, 2, 5, 3, 6));
  });

  it('behind an offset', async () => {
    const bytes = Float32Array.of(9, 9, ...kernel, 9);
    await writeFile(path.join(folder, 'weights.data'), new Uint8Array(bytes.buffer));
    await writeModel({ location: 'weights.data', offset: '8', length: '24' });
    const draft = await readOnnx(file, {});
    expect(draft.ok && draft.value.weights.get('node_of_conv/kernel')!.data[5]).toBe(6);
  });
});

const outside = 'FILE: tensor "kernel": external data "LOCATION": expected a file in the folder of the model';
describe('refused: weights', () => {
  it.each([
    ['above the folder', '../outside.data'],
    ['above the folder, by a long way', 'below/../../outside.data'],
    ['of the system', '/etc/hostname'],
    ['behind a link to another folder', 'link/outside.data'],
    ['behind a link to a file elsewhere', 'outside.link'],
    ['nowhere', ''],
  ])('%s', async (_, location) => {
    await symlink(root, path.join(folder, 'link'));
    await symlink(path.join(root, 'outside.data'), path.join(folder, 'outside.link'));
    expect(await readError({ location })).toBe(outside.replace('LOCATION', location));
  });

  it.each([
    ['in a file that is not there', { location: 'missing.data' }, /cannot be read \(ENOENT\)/],
    ['in a folder', { location: 'below' }, /expected 24 bytes from byte 0/],
    ['in a device', { location: 'zero' }, /expected a file in the folder of the model/],
    ['in a file whose name ends early', { location: 'weights.data\0.png' }, /external data/],
    ['behind the end', { location: 'weights.data', offset: '24' }, /expected 24 bytes from byte 24, got a file of 24/],
    ['at 2^62', { location: 'weights.data', offset: `${2n ** 62n}` }, /expected 24 bytes from byte/],
    ['before the start', { location: 'weights.data', offset: '-8' }, /expected 24 bytes from byte -8/],
    ['at no number', { location: 'weights.data', offset: 'x' }, /expected 24 bytes from byte NaN/],
    ['in a length of terabytes', { location: 'weights.data', length: `${2 ** 42}` }, /expected 24 bytes, got a length/],
  ])('%s', async (_, entries, error) => {
    await symlink('/dev/zero', path.join(folder, 'zero'));
    const message = await readError(entries);
    expect(message).toMatch(error);
    expect(message).toMatch(/^FILE: tensor "kernel": external data "/);
  });

  it('in a file that was cut off', async () => {
    const copy = path.join(folder, 'dynamo-resnet8.onnx');
    await copyFile(onnxFile('dynamo-resnet8'), copy);
    await copyFile(`${onnxFile('dynamo-resnet8')}.data`, `${copy}.data`);
    expect((await readOnnx(copy, {})).ok).toBe(true);
    await truncate(`${copy}.data`, 30_000);
    const draft = await readOnnx(copy, {});
    expect(draft.ok ? 'imported' : draft.error).toMatch(
      /external data "dynamo-resnet8.onnx.data": expected \d+ bytes from/,
    );
  });
});
