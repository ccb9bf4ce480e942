import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { failure, success, type Result } from '../../src/result.ts';
import { isCifarName, loadCifar } from './cifar.ts';
import type { Dataset } from './dataset.ts';
import { loadClassFolders, loadImageFolder } from './folders.ts';
import { isIdxName, loadIdx } from './idx.ts';
import { systemReason } from './read.ts';
import { loadTensorImages, loadTensors } from './tensors.ts';

/**
 * Loads a set of labelled images. By what lies at the path it is read as a folder of class folders with PNG and JPEG files, a
 * safetensors file (`images` U8 [N,H,W,C], `labels` [N]), the images file of an IDX pair (plain or .gz), or a CIFAR-10 or
 * CIFAR-100 binary (one .bin file, or a folder: its training files). Fails with one sentence that names the file and the field.
 */
export const loadDataset = (source: string): Promise<Result<Dataset>> => readable(source, () => loadByKind(source));

/**
 * Loads images and passes over what labels they have; every label is 0. Reads what `loadDataset` does, and also a folder of PNG and
 * JPEG files and a safetensors file without `labels`. Fails as `loadDataset` does.
 */
export const loadUnlabelled = (source: string): Promise<Result<Dataset>> =>
  readable(source, async () => {
    const isFolder = (await stat(source)).isDirectory();
    if (isFolder && !(await readdir(source)).some(isCifarName)) return loadImageFolder(source);
    if (!isFolder && source.endsWith('.safetensors')) return loadTensorImages(source);
    const loaded = await loadByKind(source);
    return loaded.ok
      ? success({ ...loaded.value, labels: new Int32Array(loaded.value.count), labelNames: null })
      : loaded;
  });

async function readable(source: string, load: () => Promise<Result<Dataset>>): Promise<Result<Dataset>> {
  try {
    return await load();
  } catch (error) {
    return failure(`${source}: cannot be read: ${systemReason(error)}`);
  }
}

async function loadByKind(source: string): Promise<Result<Dataset>> {
  if ((await stat(source)).isDirectory()) {
    const isCifar = (await readdir(source)).some(isCifarName);
    return isCifar ? loadCifar(source) : loadClassFolders(source);
  }
  if (source.endsWith('.safetensors')) return loadTensors(source);
  if (source.endsWith('.bin')) return loadCifar(source);
  if (isIdxName(path.basename(source))) return loadIdx(source);
  const supported =
    'a folder of class folders, .safetensors, an IDX images file ("images-idx3" in its name) or a CIFAR .bin';
  return failure(`${source}: unsupported file: expected ${supported}`);
}
