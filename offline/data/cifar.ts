/**
 * CIFAR-10 and CIFAR-100 in their binary form (https://www.cs.toronto.edu/~kriz/cifar.html): a record is one label byte
 * (CIFAR-100: coarse, then fine; the fine one is used), then 32 x 32 red, green and blue bytes, plane by plane.
 */
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { failure, success, type Result } from '../../src/result.ts';
import type { Dataset } from './dataset.ts';
import { MAX_DATASET_BYTES, readDataFile } from './read.ts';

type Form = { name: string; labelCounts: number[]; namesFile: string };

const SIDE = 32;
const PLANE = SIDE * SIDE;
const CIFAR10: Form = { name: 'CIFAR-10', labelCounts: [10], namesFile: 'batches.meta.txt' };
const CIFAR100: Form = { name: 'CIFAR-100', labelCounts: [20, 100], namesFile: 'fine_label_names.txt' };

const recordSize = ({ labelCounts }: Form): number => labelCounts.length + 3 * PLANE;

/** Whether a file's name is one of the published CIFAR files. */
export const isCifarName = (name: string): boolean => isCifar10Name(name) || /^(train|test)\.bin$/.test(name);
const isCifar10Name = (name: string): boolean => /^(data_batch_\d+|test_batch)\.bin$/.test(name);

/** Loads one .bin file, or the training files of a folder in the order of their numbers. Fails as `loadDataset` says. */
export async function loadCifar(source: string): Promise<Result<Dataset>> {
  if (source.endsWith('.bin')) return loadFiles([source]);
  const names = await readdir(source);
  const batches = names.filter((name) => /^data_batch_\d+\.bin$/.test(name));
  batches.sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
  const training = batches.length ? batches : names.filter((name) => name === 'train.bin');
  if (!training.length)
    return failure(`${source}: expected data_batch_*.bin or train.bin in it; name a test file itself`);
  return loadFiles(training.map((name) => path.join(source, name)));
}

async function loadFiles(files: string[]): Promise<Result<Dataset>> {
  const parts: Uint8Array[] = [];
  let form: Form | null = null;
  let count = 0;
  for (const file of files) {
    const bytes = await readDataFile(file);
    if (!bytes.ok) return bytes;
    const fileForm = formOf(file, bytes.value.length);
    if (!fileForm.ok) return fileForm;
    form = fileForm.value;
    const labels = checkLabels(file, bytes.value, form);
    if (!labels.ok) return labels;
    parts.push(bytes.value);
    count += bytes.value.length / recordSize(form);
    if (count * 3 * PLANE > MAX_DATASET_BYTES) return failure(`${file}: expected at most 2 GiB of images together`);
  }
  if (!form) throw new Error('loadFiles: expected at least one file');
  const labelNames = await readNames(path.dirname(files[0]!), form);
  if (!labelNames.ok) return labelNames;
  return success({ ...unpack(parts, form, count), labelNames: labelNames.value });
}

/** Which of the two forms a file has: by its name if that is a published one, else by its size. */
function formOf(file: string, sizeBytes: number): Result<Form> {
  const name = path.basename(file);
  const named = isCifar10Name(name) ? [CIFAR10] : [CIFAR100];
  const candidates = isCifarName(name) ? named : [CIFAR10, CIFAR100];
  const form = candidates.find((candidate) => sizeBytes > 0 && sizeBytes % recordSize(candidate) === 0);
  if (form) return success(form);
  const expected = candidates.map((candidate) => `${recordSize(candidate)} bytes (${candidate.name})`).join(' or ');
  return failure(`${file}: truncated or no CIFAR file: expected a multiple of ${expected}, got ${sizeBytes} bytes`);
}

function checkLabels(file: string, bytes: Uint8Array, form: Form): Result<void> {
  const size = recordSize(form);
  for (let record = 0; record * size < bytes.length; record++) {
    for (const [position, labelCount] of form.labelCounts.entries()) {
      const label = bytes[record * size + position]!;
      if (label >= labelCount) {
        return failure(`${file}: labels: expected 0 to ${labelCount - 1}, got ${label} for image ${record}`);
      }
    }
  }
  return success(undefined);
}

async function readNames(folder: string, { namesFile, labelCounts }: Form): Promise<Result<string[] | null>> {
  const file = path.join(folder, namesFile);
  if (!(await readdir(folder)).includes(namesFile)) return success(null);
  const bytes = await readDataFile(file);
  if (!bytes.ok) return bytes;
  const lines = new TextDecoder().decode(bytes.value).split('\n');
  const names = lines.map((line) => line.trim()).filter((line) => line !== '');
  const expected = labelCounts.at(-1)!;
  return names.length === expected
    ? success(names)
    : failure(`${file}: expected ${expected} label names, got ${names.length}`);
}

/** Records to `images` [N,32,32,3] and `labels` [N]. */
function unpack(parts: Uint8Array[], form: Form, count: number): Omit<Dataset, 'labelNames'> {
  const images = new Uint8Array(count * 3 * PLANE);
  const labels = new Int32Array(count);
  const labelBytes = form.labelCounts.length;
  let image = 0;
  for (const part of parts) {
    for (let start = 0; start < part.length; start += recordSize(form)) {
      labels[image] = part[start + labelBytes - 1]!;
      for (let pixel = 0; pixel < PLANE; pixel++) {
        for (let channel = 0; channel < 3; channel++) {
          images[(image * PLANE + pixel) * 3 + channel] = part[start + labelBytes + channel * PLANE + pixel]!;
        }
      }
      image += 1;
    }
  }
  return { images, labels, count, height: SIDE, width: SIDE, channels: 3 };
}
