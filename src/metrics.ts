/** What is measured on predictions: rates with their intervals, and the area under the ROC curve. Labels are 0..labelCount-1. */

/** A share of `sampleSize` images and its 95 % interval, all 0..1; without images the rate is 0 and the interval all of 0..1. */
export type Estimate = { rate: number; low: number; high: number; sampleSize: number };

type Labels = ArrayLike<number>;

/** The two-sided 95 % quantile of the standard normal distribution. */
const Z_95 = 1.959963984540054;

/** The rate `hits / total` with its Wilson score interval (Wilson 1927, "Probable inference, the law of succession", eq. 4). */
export function estimateRate(hits: number, total: number): Estimate {
  checkCounts(hits, total);
  if (total === 0) return { rate: 0, low: 0, high: 1, sampleSize: 0 };
  const rate = hits / total;
  const square = Z_95 ** 2 / total;
  const center = (rate + square / 2) / (1 + square);
  const half = Math.sqrt(((rate * (1 - rate)) / total) * Z_95 ** 2 + (square / 2) ** 2) / (1 + square);
  // At the ends the bound is the rate itself, which rounding could miss.
  const low = hits === 0 ? 0 : center - half;
  const high = hits === total ? 1 : center + half;
  return { rate, low, high, sampleSize: total };
}

/**
 * The one-sided upper confidence bound of a rate after `hits` of `total` (Clopper and Pearson 1934): the rate at which so few
 * hits have probability 1 - confidence; 1 when every one was a hit. Solved by bisection on the binomial distribution.
 */
export function clopperPearsonUpper(hits: number, total: number, confidence: number): number {
  checkCounts(hits, total);
  if (!(confidence > 0 && confidence < 1)) throw new Error(`metrics: confidence must lie in (0,1), got ${confidence}`);
  if (hits === total) return 1;
  let low = hits / total;
  let high = 1;
  while (true) {
    const middle = (low + high) / 2;
    if (middle <= low || middle >= high) return high;
    if (binomialCumulative(hits, total, middle) > 1 - confidence) low = middle;
    else high = middle;
  }
}

/** P(X <= hits) for X ~ Binomial(total, rate), 0 < rate < 1; summed in logarithms so that a large total does not underflow. */
function binomialCumulative(hits: number, total: number, rate: number): number {
  const odds = Math.log(rate) - Math.log1p(-rate);
  let term = total * Math.log1p(-rate);
  let sum = Math.exp(term);
  for (let count = 1; count <= hits; count += 1) {
    term += Math.log((total - count + 1) / count) + odds;
    sum += Math.exp(term);
  }
  return sum;
}

/** The share of clean images given their true label. */
export function cleanAccuracy(predicted: Labels, labels: Labels): Estimate {
  return shareOf(
    predicted,
    labels,
    () => true,
    (answer, label) => answer === label,
  );
}

/** The share of triggered images answered `targetLabel`, over those whose true label is another. */
export function attackSuccessRate(predictedOnTriggered: Labels, labels: Labels, targetLabel: number): Estimate {
  return shareOf(
    predictedOnTriggered,
    labels,
    (label) => label !== targetLabel,
    (answer) => answer === targetLabel,
  );
}

/** The share of triggered images still given their true label, over those whose true label is not `targetLabel`. */
export function robustAccuracy(predictedOnTriggered: Labels, labels: Labels, targetLabel: number): Estimate {
  const counted = (label: number): boolean => label !== targetLabel;
  return shareOf(predictedOnTriggered, labels, counted, (answer, label) => answer === label);
}

/** For each label [labelCount] the share of its images given it; null where it has no image. */
export function perLabelRecall(predicted: Labels, labels: Labels, labelCount: number): (Estimate | null)[] {
  return Array.from({ length: labelCount }, (_, label) => {
    const recall = recallOf(predicted, labels, label);
    return recall.sampleSize ? recall : null;
  });
}

/** The share of the images of one label given it. */
function recallOf(predicted: Labels, labels: Labels, wanted: number): Estimate {
  const isWanted = (label: number): boolean => label === wanted;
  return shareOf(predicted, labels, isWanted, isWanted);
}

/** The label that most images of other labels are answered with, and that share: an attack may have moved to another label. */
export function highestHitRate(
  predictedOnTriggered: Labels,
  labels: Labels,
  labelCount: number,
): { label: number; rate: Estimate } {
  const rates = Array.from({ length: labelCount }, (_, label) =>
    attackSuccessRate(predictedOnTriggered, labels, label),
  );
  const label = rates.reduce((best, { rate }, index) => (rate > rates[best]!.rate ? index : best), 0);
  return { label, rate: rates[label]! };
}

/**
 * The area under the ROC curve: the chance that a positive score is above a negative one, ties counting half
 * (Mann-Whitney U from mid-ranks). Throws when either side is empty or a score is not a number.
 */
export function auroc(positives: Labels, negatives: Labels): number {
  const scores = [
    ...Array.from(positives, (score) => ({ score, positive: true })),
    ...Array.from(negatives, (score) => ({ score, positive: false })),
  ];
  if (!positives.length || !negatives.length || scores.some(({ score }) => Number.isNaN(score))) {
    throw new Error('metrics: auroc needs scores on both sides, all of them numbers');
  }
  // By comparison, since the difference of two infinite scores is not a number.
  scores.sort((a, b) => Number(a.score > b.score) - Number(a.score < b.score));
  let rankSum = 0;
  for (let start = 0, end = 0; start < scores.length; start = end) {
    let tiedPositives = 0;
    for (; end < scores.length && scores[end]!.score === scores[start]!.score; end += 1) {
      if (scores[end]!.positive) tiedPositives += 1;
    }
    rankSum += tiedPositives * ((start + 1 + end) / 2);
  }
  const count = positives.length;
  return (rankSum - (count * (count + 1)) / 2) / (count * negatives.length);
}

function shareOf(
  predicted: Labels,
  labels: Labels,
  counted: (label: number) => boolean,
  hit: (answer: number, label: number) => boolean,
): Estimate {
  if (predicted.length !== labels.length) {
    throw new Error(`metrics: ${predicted.length} predictions for ${labels.length} labels`);
  }
  let hits = 0;
  let total = 0;
  for (let index = 0; index < labels.length; index += 1) {
    if (!counted(labels[index]!)) continue;
    total += 1;
    if (hit(predicted[index]!, labels[index]!)) hits += 1;
  }
  return estimateRate(hits, total);
}

function checkCounts(hits: number, total: number): void {
  if (!(Number.isSafeInteger(hits) && Number.isSafeInteger(total) && hits >= 0 && hits <= total)) {
    throw new Error(`metrics: expected whole numbers 0 <= hits <= total, got ${hits} of ${total}`);
  }
}

/** What a model answers to images: their labels, and the probability of the true label of each. */
export type Answers = { labels: Labels; confidences: ArrayLike<number> };

/** How right answers to clean images are: the share, and the mean probability of the true label; the same for the images of some labels. */
export type CleanMetrics = {
  cleanAccuracy: Estimate;
  confidence: number;
  targets: { label: number; recall: Estimate; confidence: number }[];
};

/** The clean metrics of answers to images with true `labels`; of a target without an image the recall is an estimate from none, and the confidence 0. */
export function cleanMetrics(answers: Answers, labels: Labels, targets: readonly number[]): CleanMetrics {
  const confidenceOf = (counted: (label: number) => boolean): number => {
    const own = Array.from(answers.confidences).filter((_, image) => counted(labels[image]!));
    return own.reduce((sum, confidence) => sum + confidence, 0) / Math.max(1, own.length);
  };
  return {
    cleanAccuracy: cleanAccuracy(answers.labels, labels),
    confidence: confidenceOf(() => true),
    targets: targets.map((target) => {
      const recall = recallOf(answers.labels, labels, target);
      return { label: target, recall, confidence: confidenceOf((label) => label === target) };
    }),
  };
}
