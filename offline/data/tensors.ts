/** The project's own form of a data set: safetensors with `images` U8 [N,H,W,C], `labels` I32 or I64 [N], and the label names in its metadata. */
import * as z from 'zod';
import { decodeSafetensors, encodeSafetensors, type HostTensor } from '../../src/network/safetensors.ts';
import { failure, success, type Result } from '../../src/result.ts';
import { replaceFile } from '../directory.ts';
import type { Dataset } from './dataset.ts';
import { readDataFile, systemReason } from './read.ts';

const namesSchema = z.array(z.string()).min(1);

/** Loads a set from a safetensors file; other tensors and metadata in it are ignored. Fails as `loadDataset` says. */
export async function loadTensors(path: string): Promise<Result<Dataset>> {
  const read = await readImages(path);
  if (!read.ok) return read;
  const { dataset, tensors, metadata } = read.value;
  const labels = tensors.get('labels');
  if (labels?.dtype !== 'I32' || labels.shape.length !== 1 || labels.shape[0] !== dataset.count) {
    return failure(`${path}: labels: expected I32 or I64 [${dataset.count}], got ${describeTensor(labels)}`);
  }
  const labelNames = parseNames(metadata['labelNames']);
  if (!labelNames.ok) return failure(`${path}: ${labelNames.error}`);
  const limit = labelNames.value?.length ?? Infinity;
  const wrong = labels.data.findIndex((label) => label < 0 || label >= limit);
  if (wrong >= 0) {
    const expected = labelNames.value ? `0 to ${limit - 1}` : '0 or more';
    return failure(`${path}: labels: expected ${expected}, got ${labels.data[wrong]} for image ${wrong}`);
  }
  return success({ ...dataset, labels: labels.data, labelNames: labelNames.value });
}

/** Loads only the images of a safetensors file; every label is 0. Fails as `loadDataset` says. */
export async function loadTensorImages(path: string): Promise<Result<Dataset>> {
  const read = await readImages(path);
  return read.ok ? success(read.value.dataset) : read;
}

type ImagesFile = { dataset: Dataset; tensors: Map<string, HostTensor>; metadata: Record<string, string> };

async function readImages(path: string): Promise<Result<ImagesFile>> {
  const bytes = await readDataFile(path);
  if (!bytes.ok) return bytes;
  const file = decodeSafetensors(bytes.value);
  if (!file.ok) return failure(`${path}: ${file.error}`);
  const images = file.value.tensors.get('images');
  if (images?.dtype !== 'U8' || images.shape.length !== 4 || images.data.length === 0) {
    return failure(`${path}: images: expected U8 [N,H,W,C], got ${describeTensor(images)}`);
  }
  const [count, height, width, channels] = images.shape as [number, number, number, number];
  const shape = { count, height, width, channels };
  const dataset = { ...shape, images: images.data, labels: new Int32Array(count), labelNames: null };
  return success({ ...file.value, dataset });
}

const describeTensor = (tensor: HostTensor | undefined): string =>
  tensor ? `${tensor.dtype} [${tensor.shape.join(',')}]` : 'no such tensor';

function parseNames(text: string | undefined): Result<string[] | null> {
  if (text === undefined) return success(null);
  try {
    const parsed = namesSchema.safeParse(JSON.parse(text));
    if (parsed.success) return success(parsed.data);
  } catch {
    // Falls through: text that is no JSON is refused like JSON of another form.
  }
  return failure('metadata: labelNames: expected a JSON list of names');
}

/** Writes a set as safetensors, whole or not at all: under a temporary name first. Fails if the place cannot be written. */
export async function saveDataset(path: string, dataset: Dataset): Promise<Result<void>> {
  const { count, height, width, channels, images, labels, labelNames } = dataset;
  const tensors = new Map<string, HostTensor>([
    ['images', { dtype: 'U8', shape: [count, height, width, channels], data: images }],
    ['labels', { dtype: 'I32', shape: [count], data: labels }],
  ]);
  const bytes = encodeSafetensors(tensors, labelNames ? { labelNames: JSON.stringify(labelNames) } : undefined);
  try {
    await replaceFile(path, bytes);
    return success(undefined);
  } catch (error) {
    return failure(`${path}: cannot be written: ${systemReason(error)}`);
  }
}
