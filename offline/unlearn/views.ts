/**
 * Views of clean images, so that a few hundred of them hold a head to the victim's function and not to their own answers: moved, mirrored, and with a
 * rectangle of another image in them (CutMix, Yun et al., arXiv 1905.04899). Difference: labels are not mixed, for the victim itself is asked about
 * every view (Beyer et al., "a good teacher is patient and consistent", arXiv 2106.05237).
 */
import { ones, pad4d, reverse4d, slice, type Rank, type Tensor4D } from '@tensorflow/tfjs-core';
import { blend } from '../../src/trigger/trigger.ts';
import { imageBatch } from '../batch.ts';
import type { Dataset } from '../data/dataset.ts';
import type { RandomSource } from '../engine/random.ts';

/** Images [B,H,W,C] in 0..1, and the true labels of what can be seen in each. */
export type Views = { images: Tensor4D; labels: number[][] };

/** The largest random shift, as a share of the image's sides. */
const SHIFT_SHARE = 1 / 14;
/** A rectangle covers at most so much of an image; one that covers a quarter shows what its image shows. */
const LARGEST_RECTANGLE = 0.5;
const SEEN = 0.25;

/** Views of `count` random images, all moved, mirrored and covered at the same place. */
export function drawViews(dataset: Dataset, count: number, random: RandomSource): Views {
  const draw = (): Int32Array => Int32Array.from({ length: count }, () => random.integer(dataset.count));
  const view = (chosen: Int32Array): Tensor4D => mirrored(shifted(imageBatch(dataset, chosen), random), random);
  const [chosen, others] = [draw(), draw()];
  const side = Math.sqrt(LARGEST_RECTANGLE * random.uniform(1)[0]!);
  const { height, width } = dataset;
  const [tall, wide] = [Math.floor(side * height), Math.floor(side * width)];
  const [top, left] = [random.integer(height - tall + 1), random.integer(width - wide + 1)];
  const [images, covering] = [view(chosen), view(others)];
  const isSeen = tall * wide >= SEEN * height * width;
  const labels = Array.from(chosen, (index, row) => {
    const own = dataset.labels[index]!;
    return isSeen ? [own, dataset.labels[others[row]!]!] : [own];
  });
  if (!tall || !wide) return { images, labels };
  const rectangle = pad4d(ones<Rank.R4>([1, tall, wide, 1]), [
    [0, 0],
    [top, height - tall - top],
    [left, width - wide - left],
    [0, 0],
  ]);
  return { images: blend(images, rectangle, covering), labels };
}

const mirrored = (images: Tensor4D, random: RandomSource): Tensor4D =>
  random.integer(2) ? reverse4d(images, 2) : images;

/** Images [B,H,W,C] moved together by a random number of pixels, black where nothing was. */
export function shifted(images: Tensor4D, random: RandomSource): Tensor4D {
  const [count, height, width, channels] = images.shape;
  const [vertical, horizontal] = [Math.round(height * SHIFT_SHARE), Math.round(width * SHIFT_SHARE)];
  const padded = pad4d(images, [
    [0, 0],
    [vertical, vertical],
    [horizontal, horizontal],
    [0, 0],
  ]);
  const start = [0, random.integer(2 * vertical + 1), random.integer(2 * horizontal + 1), 0];
  return slice(padded, start, [count, height, width, channels]);
}
