/** A labelled set of images in memory, whatever file it came from. */
import { createHash } from 'node:crypto';
import { toChannels } from '../../src/image.ts';
import { failure, success, type Result } from '../../src/result.ts';

/** `images` [N,H,W,C] in 0..255, `labels` [N]; `labelNames` [K] where the source names them. */
export type Dataset = {
  images: Uint8Array;
  count: number;
  height: number;
  width: number;
  channels: number;
  labels: Int32Array;
  labelNames: string[] | null;
};

/** What a network takes; with its `labelNames`, a set that names its labels is matched by name instead of by number. */
export type ExpectedData = {
  height: number;
  width: number;
  channels: number;
  labelCount: number;
  labelNames?: readonly string[];
  requireEveryLabel: boolean;
};

/**
 * Fits a set to a network: grey and RGB are converted as for one image (`toChannels`), labels are renumbered where both
 * sides name them the same. Fails, naming `name` and the field, on another size, other channels, a label outside
 * 0..labelCount-1 and, if every label is required, on a label without images.
 */
export function checkDataset(dataset: Dataset, expected: ExpectedData, name: string): Result<Dataset> {
  const { height, width } = dataset;
  if (height !== expected.height || width !== expected.width) {
    return failure(`${name}: images: expected ${expected.height} x ${expected.width} pixels, got ${height} x ${width}`);
  }
  // The images one above the other are one tall image.
  const tall = { height: dataset.count * height, width, channels: dataset.channels, data: dataset.images };
  const fitted = toChannels(tall, expected.channels);
  if (!fitted.ok) return failure(`${name}: ${fitted.error.replace(/^image:/, 'images:')}`);
  const images = { images: fitted.value.data, channels: expected.channels };
  const checked = { ...renumberLabels(dataset, expected.labelNames ?? null), ...images };
  const counts = new Int32Array(expected.labelCount);
  for (const [index, label] of checked.labels.entries()) {
    if (label < 0 || label >= expected.labelCount) {
      return failure(`${name}: labels: expected 0 to ${expected.labelCount - 1}, got ${label} for image ${index}`);
    }
    counts[label]! += 1;
  }
  const missing = counts.indexOf(0);
  if (expected.requireEveryLabel && missing >= 0) {
    const label = expected.labelNames?.[missing] ?? checked.labelNames?.[missing];
    const which = label === undefined ? `${missing}` : `${missing} (${label})`;
    return failure(`${name}: labels: expected images of every label, got none of label ${which}`);
  }
  return success(checked);
}

/** Gives every label the number that the network has for its name, if the network knows all the names. */
function renumberLabels(dataset: Dataset, networkNames: readonly string[] | null): Dataset {
  if (!dataset.labelNames || !networkNames) return dataset;
  const numbers = dataset.labelNames.map((label) => networkNames.indexOf(label));
  if (numbers.includes(-1)) return dataset;
  return { ...dataset, labels: dataset.labels.map((label) => numbers[label] ?? label), labelNames: [...networkNames] };
}

/** The same images; labels without names are called by their numbers. */
export function withLabelNames(dataset: Dataset): Dataset & { labelNames: string[] } {
  const count = dataset.labels.reduce((largest, label) => Math.max(largest, label), 1) + 1;
  return { ...dataset, labelNames: dataset.labelNames ?? Array.from({ length: count }, (_, label) => `${label}`) };
}

/** The images at `indices`, in that order; throws on an index outside 0..count-1. */
export function selectImages(dataset: Dataset, indices: ArrayLike<number>): Dataset {
  const { height, width, channels, count } = dataset;
  const size = height * width * channels;
  const images = new Uint8Array(indices.length * size);
  const labels = new Int32Array(indices.length);
  for (let position = 0; position < indices.length; position++) {
    const index = indices[position]!;
    if (!(Number.isInteger(index) && index >= 0 && index < count)) {
      throw new RangeError(`selectImages: expected indices of 0 to ${count - 1}, got ${index}`);
    }
    images.set(dataset.images.subarray(index * size, (index + 1) * size), position * size);
    labels[position] = dataset.labels[index]!;
  }
  return { ...dataset, images, labels, count: indices.length };
}

/** SHA-256, in hexadecimal, of the shape, the pixels and the labels: the same whatever file they came from. */
export function digestDataset({ count, height, width, channels, images, labels }: Dataset): string {
  const hash = createHash('sha256');
  hash
    .update(`${[count, height, width, channels].join(',')}\n`)
    .update(images)
    .update(labels);
  return hash.digest('hex');
}
