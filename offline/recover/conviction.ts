/** Conviction: how far triggers carry images beyond the decision boundary, on a scale of the model's own. */
import { fill, oneHot, tidy, type Tensor2D } from '@tensorflow/tfjs-core';
import { everyIndex, indicesWithout } from '../batch.ts';
import type { Dataset } from '../data/dataset.ts';
import { rowsOf } from '../predict.ts';
import { margins } from './strengthen.ts';

/** A model that tells nothing apart gives no scale to divide by. */
export const LEAST_MARGIN = 1e-3;

/**
 * For each label [K] the log-odds that count as a conviction of 1: how far clean images of other labels lie before its boundary or, if that is more, how far
 * those of the model's surest label lie beyond theirs; from logits [N,K] of clean images.
 */
export async function convictionScales(clean: Tensor2D, images: Dataset): Promise<number[]> {
  const labels = Array.from({ length: clean.shape[1] }, (_, label) => label);
  const [before, own]: [number[], number[]] = [[], []];
  for (const label of labels) {
    before.push(await medianOver(clean, label, indicesWithout(images, label)));
    const indices = ofLabel(images, label);
    own.push(indices.length ? await medianOver(clean, label, indices) : 0);
  }
  const surest = Math.max(...own);
  return before.map((margin) => Math.max(surest, -margin, LEAST_MARGIN));
}

/** The median log-odds of a label over logits [N,K]. */
export async function medianMargin(logits: Tensor2D, label: number): Promise<number> {
  const values = tidy(() => {
    const [count, labels] = logits.shape;
    return margins(logits, oneHot(fill([count], label, 'int32'), labels));
  });
  const sorted = Float32Array.from(await values.data()).toSorted();
  values.dispose();
  return sorted[sorted.length >> 1]!;
}

/** The median log-odds of a label over some rows of logits [N,K]. */
export async function medianOver(logits: Tensor2D, label: number, indices: Int32Array): Promise<number> {
  const rows = rowsOf(logits, indices);
  const median = await medianMargin(rows, label);
  rows.dispose();
  return median;
}

/** The images of a label. */
export const ofLabel = (images: Dataset, label: number): Int32Array =>
  everyIndex(images.count).filter((index) => images.labels[index] === label);
