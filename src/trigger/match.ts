/**
 * The guard: does an input carry a recovered trigger?
 *
 * A logistic probe on what the guard watches (`guardFeatures`) gives a score; split-conformal calibration (Vovk et al., "Algorithmic Learning
 * in a Random World", ch. 2) turns it into a p-value under "this input is clean".
 */
import { concat, matMul, max, mean, add, type Tensor, type Tensor2D } from '@tensorflow/tfjs-core';
import { guardNodes } from '../network/cuts.ts';
import { forward, type Weights } from '../network/forward.ts';
import type { Network } from '../network/network.ts';
import type { Fingerprint } from './fingerprint.ts';

/** Pools trunk activations [B,H,W,C] to features [B,2C]: the mean and the maximum over the positions; [B,C] stays as it is. */
export function poolActivations(activations: Tensor): Tensor2D {
  if (activations.rank === 2) return activations as Tensor2D;
  return concat([mean(activations, [1, 2]), max(activations, [1, 2])], 1) as Tensor2D;
}

/**
 * The features [B,F] that a guard judges: pooled activations where the trunk ends, given as `activations`, and those that `victimHead` makes of them at
 * the last cut. Early a patch still shows, late what a trigger of the whole image does to the label; that the purified head no longer tells.
 */
export function guardFeatures(network: Network, victimHead: Weights, cut: string, activations: Tensor): Tensor2D {
  const watched = forward(network, victimHead, new Map([[cut, activations]]), guardNodes(network, cut));
  return concat(watched.map(poolActivations), 1);
}

/** Probe logits [B,T] of pooled features [B,F], one column a trigger; `weights` [F,T], `bias` [T]. */
export function probeLogits(features: Tensor2D, weights: Tensor2D, bias: Tensor): Tensor2D {
  return add(matMul(features, weights), bias);
}

export type Match = { triggerId: string; targetLabel: number; pValue: number; score: number };
export type Verdict = { verdict: 'clean' | 'suspect'; pValue: number; threshold: number; matches: Match[] };

/** The share of clean images that score at least this high: (1 + #{calibration >= score}) / (N + 1); `calibration` is ascending. */
export function pValue(score: number, calibration: Float32Array): number {
  if (!Number.isFinite(score)) throw new Error(`guard: the score is ${score}`);
  let low = 0;
  let high = calibration.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (calibration[middle]! < score) low = middle + 1;
    else high = middle;
  }
  return (1 + calibration.length - low) / (calibration.length + 1);
}

/**
 * The verdict on one input from its probe logits [T]. The calibration scores are those of the largest logit over all triggers,
 * so the false-positive rate holds for the whole fingerprint, however many triggers it has.
 * Throws when a logit is not a finite number: the caller must answer with an error, never with an unguarded label.
 */
export function judge(logits: ArrayLike<number>, fingerprint: Fingerprint, calibration: Float32Array): Verdict {
  const { threshold, triggers } = fingerprint;
  if (logits.length !== triggers.length)
    throw new Error(`guard: ${logits.length} logits for ${triggers.length} triggers`);
  const matches = triggers
    .map(({ id, targetLabel }, index) => {
      const score = logits[index]!;
      return { triggerId: id, targetLabel, score, pValue: pValue(score, calibration) };
    })
    .sort((a, b) => b.score - a.score);
  const best = matches[0];
  const suspect = matches.filter(({ score }) => score > threshold);
  return { verdict: suspect.length ? 'suspect' : 'clean', pValue: best?.pValue ?? 1, threshold, matches: suspect };
}
