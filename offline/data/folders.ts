/** A folder of class folders with PNG and JPEG files; the classes are numbered in the natural order of their names (2 before 10). */
import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { decodeImage, toChannels, type Image } from '../../src/image.ts';
import { failure, success, type Result } from '../../src/result.ts';
import type { Dataset } from './dataset.ts';
import { MAX_DATASET_BYTES, readDataFile } from './read.ts';

const MAX_IMAGE_PIXELS = 16 * 1024 * 1024;

const naturalOrder = new Intl.Collator('en', { numeric: true }).compare;

type LabelledImage = { file: string; label: number; image: Image };

/**
 * Loads a folder of class folders; hidden files are passed over. The images are grey if all are stored so, else RGB; opaque
 * alpha is dropped. Fails as `loadDataset` says, also on an empty class, files that are no images and images of several sizes.
 */
export async function loadClassFolders(folder: string): Promise<Result<Dataset>> {
  const labelNames = await classNames(folder);
  if (!labelNames.length) {
    return failure(
      `${folder}: expected class folders with PNG or JPEG files, or the .bin files of CIFAR; found neither`,
    );
  }
  const dataset = await loadFolders(folder, labelNames);
  return dataset.ok ? success({ ...dataset.value, labelNames }) : dataset;
}

/** Loads the images of a folder, or of the folders in it, as those of class folders; every label is 0. */
export async function loadImageFolder(folder: string): Promise<Result<Dataset>> {
  const folders = await classNames(folder);
  const dataset = await loadFolders(folder, folders.length ? folders : ['.']);
  return dataset.ok ? success({ ...dataset.value, labels: new Int32Array(dataset.value.count) }) : dataset;
}

async function classNames(folder: string): Promise<string[]> {
  const names: string[] = [];
  for (const name of await visibleNames(folder)) {
    if ((await stat(path.join(folder, name))).isDirectory()) names.push(name);
  }
  return names;
}

async function loadFolders(folder: string, names: readonly string[]): Promise<Result<Dataset>> {
  const all: LabelledImage[] = [];
  let sizeBytes = 0;
  for (const [label, name] of names.entries()) {
    const files = await visibleNames(path.join(folder, name));
    if (!files.length)
      return failure(`${path.join(folder, name)}: empty class: expected PNG or JPEG files, found none`);
    for (const file of files) {
      const loaded = await loadImage(path.join(folder, name, file));
      if (!loaded.ok) return loaded;
      all.push({ file: path.join(folder, name, file), label, image: loaded.value });
      // Grey images may still become RGB.
      sizeBytes += loaded.value.height * loaded.value.width * 3;
      if (sizeBytes > MAX_DATASET_BYTES)
        return failure(`${folder}: expected at most 2 GiB of images together, got more`);
    }
  }
  return stackImages(all);
}

async function visibleNames(folder: string): Promise<string[]> {
  const names = await readdir(folder);
  return names.filter((name) => !name.startsWith('.')).sort(naturalOrder);
}

/** One image without alpha. */
async function loadImage(file: string): Promise<Result<Image>> {
  if (!/\.(png|jpe?g)$/i.test(file)) return failure(`${file}: unsupported file: expected PNG or JPEG`);
  const bytes = await readDataFile(file);
  if (!bytes.ok) return bytes;
  const decoded = decodeImage(bytes.value, { maxPixels: MAX_IMAGE_PIXELS });
  const image = decoded.ok ? toChannels(decoded.value, decoded.value.channels < 3 ? 1 : 3) : decoded;
  return image.ok ? image : failure(`${file}: ${image.error}`);
}

function stackImages(all: LabelledImage[]): Result<Dataset> {
  const { height, width } = all[0]!.image;
  const channels = Math.max(...new Set(all.map(({ image }) => image.channels)));
  const size = height * width * channels;
  const images = new Uint8Array(all.length * size);
  for (const [index, { file, image }] of all.entries()) {
    if (image.height !== height || image.width !== width) {
      const first = `${height} x ${width} pixels like ${all[0]!.file}`;
      return failure(`${file}: mixed image sizes: expected ${first}, got ${image.height} x ${image.width}`);
    }
    const fitted = toChannels(image, channels);
    if (!fitted.ok) return failure(`${file}: ${fitted.error}`);
    images.set(fitted.value.data, index * size);
  }
  const labels = Int32Array.from(all, ({ label }) => label);
  return success({ images, labels, count: all.length, height, width, channels, labelNames: null });
}
