/** IDX, the form of MNIST and its successors (format: http://yann.lecun.com/exdb/mnist/, "THE IDX FILE FORMAT"). */
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { failure, success, type Result } from '../../src/result.ts';
import type { Dataset } from './dataset.ts';
import { readDataFile } from './read.ts';

const UNSIGNED_BYTE = 0x08;

/** Whether a file's name is one of an IDX pair: `train-images-idx3-ubyte.gz`, `t10k-labels.idx1-ubyte`. */
export const isIdxName = (name: string): boolean => /(images|labels)[-.]idx\d/.test(name);

/** Loads an IDX pair by the path of its images file; the labels file lies beside it. Fails as `loadDataset` says. */
export async function loadIdx(imagesPath: string): Promise<Result<Dataset>> {
  const found = await findLabels(imagesPath);
  if (!found.ok) return found;
  const labelsPath = found.value;
  const images = await readIdx(imagesPath, ['N', 'H', 'W']);
  if (!images.ok) return images;
  const labels = await readIdx(labelsPath, ['N']);
  if (!labels.ok) return labels;
  const [count, height, width] = images.value.shape as [number, number, number];
  if (labels.value.shape[0] !== count) {
    return failure(`${labelsPath}: expected ${count} labels (one an image), got ${labels.value.shape[0]}`);
  }
  const shape = { count, height, width, channels: 1 };
  return success({ ...shape, images: images.value.data, labels: Int32Array.from(labels.value.data), labelNames: null });
}

/** The labels file of an images file: the same name with `labels` and `idx1`, with or without .gz. */
async function findLabels(imagesPath: string): Promise<Result<string>> {
  const name = path.basename(imagesPath);
  const labelsName = name.replace(/images([-.])idx3/, 'labels$1idx1');
  if (labelsName === name) {
    return failure(`${imagesPath}: expected the images file of an IDX pair (its name holds "images-idx3")`);
  }
  const plain = labelsName.replace(/\.gz$/, '');
  for (const candidate of [labelsName, plain, `${plain}.gz`]) {
    const labelsPath = path.join(path.dirname(imagesPath), candidate);
    const isFile = await stat(labelsPath).then(
      (entry) => entry.isFile(),
      () => false,
    );
    if (isFile) return success(labelsPath);
  }
  return failure(`${imagesPath}: expected the labels file ${labelsName} beside it, found none`);
}

type Idx = { shape: number[]; data: Uint8Array };

async function readIdx(file: string, axes: string[]): Promise<Result<Idx>> {
  const bytes = await readDataFile(file);
  if (!bytes.ok) return bytes;
  const { value } = bytes;
  const headerSize = 4 + 4 * axes.length;
  if (value.length < headerSize) {
    return failure(`${file}: truncated: expected a header of ${headerSize} bytes, got ${value.length} bytes`);
  }
  const view = new DataView(value.buffer, value.byteOffset, value.length);
  const magic = view.getUint32(0);
  const expectedMagic = (UNSIGNED_BYTE << 8) | axes.length;
  if (magic !== expectedMagic) {
    const hex = (number: number): string => `0x${number.toString(16).padStart(8, '0')}`;
    return failure(
      `${file}: magic number: expected ${hex(expectedMagic)} (bytes [${axes.join(',')}]), got ${hex(magic)}`,
    );
  }
  const shape = axes.map((_, axis) => view.getUint32(4 + 4 * axis));
  const size = shape.reduce((total, axis) => total * axis, 1);
  if (size < 1) return failure(`${file}: expected at least one element, got [${shape.join(',')}]`);
  const data = value.subarray(headerSize);
  if (data.length !== size) {
    const what = data.length < size ? 'truncated' : 'too long';
    return failure(`${file}: ${what}: expected ${size} bytes of data by the header, got ${data.length}`);
  }
  return success({ shape, data });
}
