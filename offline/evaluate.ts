/** Measuring a model or a release on images that it has not seen. */
import { max, tensor1d, tensor2d, tidy } from '@tensorflow/tfjs-core';
import { toDevice, type Weights } from '../src/network/forward.ts';
import type { Network } from '../src/network/network.ts';
import {
  attackSuccessRate,
  auroc,
  cleanAccuracy,
  estimateRate,
  highestHitRate,
  perLabelRecall,
  robustAccuracy,
  type Estimate,
} from '../src/metrics.ts';
import type { Guard } from '../src/release/guard.ts';
import type { HostWeights } from '../src/network/safetensors.ts';
import { probeLogits } from '../src/trigger/match.ts';
import { everyIndex } from './batch.ts';
import type { Dataset } from './data/dataset.ts';
import { featuresOf, predict } from './predict.ts';

export type Subject = {
  network: Network;
  weights: HostWeights;
  /** For a release: where its trunk ends and what watches there. */
  guarded?: { cut: string; guard: Guard };
};

/** Stamped images with their TRUE labels, and the label that the attacker wants. */
export type Triggered = { images: Dataset; targetLabel: number };

/** Every rate 0..1; `intervals` holds the same rates with their 95 % intervals. */
export type Evaluation = {
  cleanAccuracy: number;
  perLabelRecall: (number | null)[];
  attackSuccessRate?: number;
  robustAccuracy?: number;
  highestHitRate?: number;
  highestHitLabel?: number;
  guard?: { threshold: number; falsePositiveRate: number; truePositiveRate?: number; auroc?: number };
  intervals: Record<string, Estimate>;
};

/** Evaluates on clean images and, if they are given, on triggered ones; a guard is measured on both. */
export async function evaluate(subject: Subject, clean: Dataset, triggered?: Triggered): Promise<Evaluation> {
  const { network, guarded } = subject;
  const weights = toDevice(subject.weights);
  const answer = (images: Dataset): Promise<Int32Array> => predict(network, weights, images, everyIndex(images.count));
  const labelCount = network.labelNames.length;
  const predicted = await answer(clean);
  const recalls = perLabelRecall(predicted, clean.labels, labelCount);
  const intervals: Record<string, Estimate> = { cleanAccuracy: cleanAccuracy(predicted, clean.labels) };
  const evaluation: Evaluation = {
    cleanAccuracy: intervals['cleanAccuracy']!.rate,
    perLabelRecall: recalls.map((recall) => recall?.rate ?? null),
    intervals,
  };
  recalls.forEach((recall, label) => recall && (intervals[`recall/${label}`] = recall));
  if (triggered) {
    const { images, targetLabel } = triggered;
    const answers = await answer(images);
    const highest = highestHitRate(answers, images.labels, labelCount);
    intervals['attackSuccessRate'] = attackSuccessRate(answers, images.labels, targetLabel);
    intervals['robustAccuracy'] = robustAccuracy(answers, images.labels, targetLabel);
    intervals['highestHitRate'] = highest.rate;
    evaluation.attackSuccessRate = intervals['attackSuccessRate'].rate;
    evaluation.robustAccuracy = intervals['robustAccuracy'].rate;
    evaluation.highestHitRate = highest.rate.rate;
    evaluation.highestHitLabel = highest.label;
  }
  if (guarded) {
    const { threshold } = guarded.guard.fingerprint;
    const flagged = (scores: Float32Array): Estimate =>
      estimateRate(scores.filter((score) => score > threshold).length, scores.length);
    const cleanScores = await guardScores(network, weights, guarded, clean);
    intervals['guard/falsePositiveRate'] = flagged(cleanScores);
    evaluation.guard = { threshold, falsePositiveRate: intervals['guard/falsePositiveRate'].rate };
    if (triggered) {
      const scores = await guardScores(network, weights, guarded, triggered.images);
      intervals['guard/truePositiveRate'] = flagged(scores);
      evaluation.guard.truePositiveRate = intervals['guard/truePositiveRate'].rate;
      evaluation.guard.auroc = auroc(scores, cleanScores);
    }
  }
  weights.forEach((tensor) => tensor.dispose());
  return evaluation;
}

/** The guard's score of every image: the largest probe logit. A fingerprint without triggers scores all images alike and flags none. */
export async function guardScores(
  network: Network,
  weights: Weights,
  { cut, guard }: { cut: string; guard: Guard },
  images: Dataset,
): Promise<Float32Array> {
  const count = guard.triggers.length;
  if (!count) return new Float32Array(images.count).fill(guard.fingerprint.threshold);
  const scores = tidy(() => {
    const features = featuresOf(network, weights, cut, images, everyIndex(images.count));
    const matrix = tensor2d(guard.probeWeights, [guard.probeWeights.length / count, count]);
    return max(probeLogits(features, matrix, tensor1d(guard.probeBias)), 1);
  });
  const values = Float32Array.from(await scores.data());
  scores.dispose();
  return values;
}
