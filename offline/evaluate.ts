/** Measuring a model or a release on images that it has not seen. */
import { dispose, max, tensor1d, tensor2d, tidy } from '@tensorflow/tfjs-core';
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
import type { ReleaseContent } from '../src/release/release.ts';
import type { HostWeights } from '../src/network/safetensors.ts';
import { probeLogits } from '../src/trigger/match.ts';
import { everyIndex } from './batch.ts';
import type { Dataset } from './data/dataset.ts';
import { predict, predictWithFeatures } from './predict.ts';

export type Subject = {
  network: Network;
  weights: HostWeights;
  /** For a release: where its trunk ends and what watches there. */
  guarded?: Guarded;
};

/** What watches at a release's cut, and the victim's weights behind it. */
export type Guarded = { cut: string; guard: Guard; victimHead: HostWeights };

/** The guard of a release and what it needs beside the network. */
export const guardedBy = ({ manifest, guard, victimHead }: ReleaseContent): Guarded => {
  return { cut: manifest.cut, guard, victimHead };
};

/** Stamped images with their TRUE labels, and the label that the attacker wants. */
export type Triggered = { images: Dataset; targetLabel: number };

/** Every rate 0..1; `intervals` holds the same rates with their 95 % intervals. */
export type Evaluation = {
  cleanAccuracy: number;
  perLabelRecall: (number | null)[];
  attackSuccessRate?: number;
  /** How often clean images of other labels are mistaken for the target: what would be left if the trigger did nothing. */
  naturalRate?: number;
  robustAccuracy?: number;
  highestHitRate?: number;
  highestHitLabel?: number;
  /** How often clean images of other labels are mistaken for that label. */
  highestHitNaturalRate?: number;
  guard?: { threshold: number; falsePositiveRate: number; truePositiveRate?: number; auroc?: number };
  intervals: Record<string, Estimate>;
};

/** Evaluates on clean images and, if they are given, on triggered ones; a guard is measured on both. */
export async function evaluate(subject: Subject, clean: Dataset, triggered?: Triggered): Promise<Evaluation> {
  const { network, guarded } = subject;
  const weights = toDevice(subject.weights);
  const labelCount = network.labelNames.length;
  const onClean = await answerImages(network, weights, clean, guarded);
  const onTriggered = triggered && (await answerImages(network, weights, triggered.images, guarded));
  const recalls = perLabelRecall(onClean.labels, clean.labels, labelCount);
  const intervals: Record<string, Estimate> = { cleanAccuracy: cleanAccuracy(onClean.labels, clean.labels) };
  const evaluation: Evaluation = {
    cleanAccuracy: intervals['cleanAccuracy']!.rate,
    perLabelRecall: recalls.map((recall) => recall?.rate ?? null),
    intervals,
  };
  recalls.forEach((recall, label) => recall && (intervals[`recall/${label}`] = recall));
  if (triggered && onTriggered) {
    const { images, targetLabel } = triggered;
    const answers = onTriggered.labels;
    const highest = highestHitRate(answers, images.labels, labelCount);
    intervals['attackSuccessRate'] = attackSuccessRate(answers, images.labels, targetLabel);
    intervals['naturalRate'] = attackSuccessRate(onClean.labels, clean.labels, targetLabel);
    intervals['robustAccuracy'] = robustAccuracy(answers, images.labels, targetLabel);
    intervals['highestHitRate'] = highest.rate;
    intervals['highestHitNaturalRate'] = attackSuccessRate(onClean.labels, clean.labels, highest.label);
    evaluation.attackSuccessRate = intervals['attackSuccessRate'].rate;
    evaluation.naturalRate = intervals['naturalRate'].rate;
    evaluation.robustAccuracy = intervals['robustAccuracy'].rate;
    evaluation.highestHitRate = highest.rate.rate;
    evaluation.highestHitLabel = highest.label;
    evaluation.highestHitNaturalRate = intervals['highestHitNaturalRate'].rate;
  }
  if (guarded) {
    const { threshold } = guarded.guard.fingerprint;
    const flagged = (scores: Float32Array): Estimate =>
      estimateRate(scores.filter((score) => score > threshold).length, scores.length);
    const cleanScores = onClean.scores!;
    intervals['guard/falsePositiveRate'] = flagged(cleanScores);
    evaluation.guard = { threshold, falsePositiveRate: intervals['guard/falsePositiveRate'].rate };
    if (onTriggered) {
      const scores = onTriggered.scores!;
      intervals['guard/truePositiveRate'] = flagged(scores);
      evaluation.guard.truePositiveRate = intervals['guard/truePositiveRate'].rate;
      evaluation.guard.auroc = auroc(scores, cleanScores);
    }
  }
  weights.forEach((tensor) => tensor.dispose());
  return evaluation;
}

/**
 * The predicted label of every image and, from the same pass, the guard's score: the largest probe logit. A fingerprint without triggers
 * scores all images alike and flags none; without a guard there are no scores.
 */
export async function answerImages(
  network: Network,
  weights: Weights,
  images: Dataset,
  guarded: Guarded | undefined,
): Promise<{ labels: Int32Array; scores: Float32Array | null }> {
  const all = everyIndex(images.count);
  if (!guarded) return { labels: await predict(network, weights, images, all), scores: null };
  const { guard, cut } = guarded;
  const victimHead = toDevice(guarded.victimHead);
  const { labels, features } = await predictWithFeatures({ network, weights, victimHead, cut }, images, all);
  victimHead.forEach((tensor) => tensor.dispose());
  const count = guard.triggers.length;
  if (!count) {
    features.dispose();
    return { labels, scores: new Float32Array(images.count).fill(guard.fingerprint.threshold) };
  }
  const best = tidy(() => {
    const matrix = tensor2d(guard.probeWeights, [guard.probeWeights.length / count, count]);
    return max(probeLogits(features, matrix, tensor1d(guard.probeBias)), 1);
  });
  const scores = Float32Array.from(await best.data());
  dispose([best, features]);
  return { labels, scores };
}
