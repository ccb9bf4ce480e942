import { beforeAll, describe, expect, test } from 'vitest';
import type { Dataset } from '../offline/data/dataset.ts';
import { randomSource } from '../offline/engine/random.ts';
import { openWasm } from '../offline/engine/wasm.ts';
import { evaluate, type Subject } from '../offline/evaluate.ts';
import type { Network } from '../src/network/network.ts';
import type { Guard } from '../src/release/guard.ts';
import type { Trigger } from '../src/trigger/trigger.ts';

beforeAll(openWasm);

const LABELS = 3;
const PIXELS = 16;
const TARGET = 2;
const random = randomSource(2, 'test/evaluate');

const network: Network = {
  schemaVersion: 1,
  input: { height: 4, width: 4, channels: 1 },
  labelNames: ['a', 'b', 'c'],
  layers: [
    { type: 'flatten', name: 'flat', inputs: ['images'] },
    { type: 'dense', name: 'logits', inputs: ['flat'], units: LABELS, bias: false },
  ],
  output: 'logits',
};
const kernel = random.normal(PIXELS * LABELS);
const subject: Subject = {
  network,
  weights: new Map([['logits/kernel', { dtype: 'F32', shape: [PIXELS, LABELS], data: kernel }]]),
};

function randomImages(count: number, labelCount = LABELS): Dataset {
  const images = Uint8Array.from({ length: count * PIXELS }, () => random.integer(256));
  const labels = Int32Array.from({ length: count }, () => random.integer(labelCount));
  return { images, count, height: 4, width: 4, channels: 1, labels, labelNames: null };
}

/** The product of every image [N,16] with a matrix [16,columns] (plus a bias), one number at a time. */
function scores(
  images: Dataset,
  matrix: Float32Array,
  columns: number,
  bias: ArrayLike<number> = new Float32Array(columns),
): number[][] {
  return Array.from({ length: images.count }, (_, image) =>
    Array.from({ length: columns }, (_, column) => {
      let sum = bias[column]!;
      for (let pixel = 0; pixel < PIXELS; pixel++) {
        sum += (images.images[image * PIXELS + pixel]! / 255) * matrix[pixel * columns + column]!;
      }
      return sum;
    }),
  );
}

const answers = (images: Dataset): number[] =>
  scores(images, kernel, LABELS).map((logits) => logits.indexOf(Math.max(...logits)));
const share = (flags: readonly boolean[]): number => flags.filter(Boolean).length / flags.length;

const clean = randomImages(150);
const triggered = { images: randomImages(130), targetLabel: TARGET };

describe('an evaluation', () => {
  test('counts what a direct count on the model counts', async () => {
    const evaluation = await evaluate(subject, clean, triggered);
    const right = answers(clean).map((answer, index) => answer === clean.labels[index]);
    expect(evaluation.cleanAccuracy).toBe(share(right));
    const recalls = [0, 1, 2].map((label) => share(right.filter((_, index) => clean.labels[index] === label)));
    expect(evaluation.perLabelRecall).toEqual(recalls);

    const { labels } = triggered.images;
    const onTriggered = answers(triggered.images);
    const hitsOf = (label: number): number =>
      share(onTriggered.map((answer) => answer === label).filter((_, index) => labels[index] !== label));
    const others = onTriggered
      .map((answer, index) => answer === labels[index])
      .filter((_, index) => labels[index] !== TARGET);
    expect(evaluation.attackSuccessRate).toBe(hitsOf(TARGET));
    const withoutTrigger = answers(clean).filter((_, index) => clean.labels[index] !== TARGET);
    expect(evaluation.naturalRate).toBe(share(withoutTrigger.map((answer) => answer === TARGET)));
    expect(evaluation.robustAccuracy).toBe(share(others));
    const hits = [0, 1, 2].map(hitsOf);
    expect(evaluation.highestHitRate).toBe(Math.max(...hits));
    const highest = hits.indexOf(Math.max(...hits));
    expect(evaluation.highestHitLabel).toBe(highest);
    const mistaken = answers(clean).filter((_, index) => clean.labels[index] !== highest);
    expect(evaluation.highestHitNaturalRate).toBe(share(mistaken.map((answer) => answer === highest)));
    expect(evaluation).not.toHaveProperty('guard');
  });

  test('gives every rate again with an interval around it and the number of images behind it', async () => {
    const { intervals, perLabelRecall, ...rates } = await evaluate(subject, clean, triggered);
    const named = { ...rates, ...Object.fromEntries(perLabelRecall.map((rate, label) => [`recall/${label}`, rate])) };
    for (const [name, { rate, low, high, sampleSize }] of Object.entries(intervals)) {
      expect(rate, name).toBe((named as Record<string, unknown>)[name]);
      expect(low <= rate && rate <= high && sampleSize > 0, name).toBe(true);
    }
    expect(Object.keys(intervals).toSorted()).toEqual(
      [
        'attackSuccessRate',
        'cleanAccuracy',
        'highestHitNaturalRate',
        'highestHitRate',
        'naturalRate',
        'recall/0',
        'recall/1',
        'recall/2',
        'robustAccuracy',
      ].toSorted(),
    );
    expect(intervals['cleanAccuracy']!.sampleSize).toBe(clean.count);
    expect(intervals['attackSuccessRate']!.sampleSize).toBe(
      triggered.images.labels.filter((label) => label !== TARGET).length,
    );
  });

  test('without triggered images says nothing about an attack, and of a label without images no recall', async () => {
    const evaluation = await evaluate(subject, randomImages(40, 2));
    expect(evaluation.perLabelRecall[2]).toBeNull();
    expect(evaluation.perLabelRecall.slice(0, 2)).not.toContain(null);
    for (const field of ['attackSuccessRate', 'naturalRate', 'robustAccuracy', 'highestHitRate', 'guard']) {
      expect(evaluation).not.toHaveProperty(field);
    }
  });
});

describe('the evaluation of a guard', () => {
  const pattern = new Float32Array(PIXELS);
  const shape = { kind: 'additive', height: 4, width: 4, channels: 1, pattern } as const;
  const probeWeights = random.normal(PIXELS * 2);
  const probeBias = random.normal(2);
  const best = (images: Dataset): number[] => scores(images, probeWeights, 2, probeBias).map((row) => Math.max(...row));

  function guardOf(triggers: Trigger[], threshold: number): Guard {
    const rates = { victimHitRate: 1, purifiedHitRate: 0 };
    return {
      fingerprint: {
        schemaVersion: 1,
        falsePositiveRate: 0.5,
        threshold,
        falsePositiveBound: { upper: 1, confidence: 0.95, sampleSize: 1 },
        triggers: triggers.map(({ kind, targetLabel }) => ({ id: `t-${targetLabel}`, kind, targetLabel, ...rates })),
      },
      triggers,
      probeWeights: triggers.length ? probeWeights : new Float32Array(),
      probeBias: triggers.length ? probeBias : new Float32Array(),
      calibration: Float32Array.of(threshold),
    };
  }

  test('counts the images whose largest probe score is above the threshold, and pairs in the right order', async () => {
    const [cleanScores, triggeredScores] = [best(clean), best(triggered.images)];
    // Between two scores, so that rounding decides nothing.
    const [lower, upper] = cleanScores.toSorted((a, b) => a - b).slice(90, 92);
    const threshold = (lower! + upper!) / 2;
    const triggers: Trigger[] = [0, 1].map((targetLabel) => ({ ...shape, targetLabel }));
    const guarded = { cut: 'flat', guard: guardOf(triggers, threshold), victimHead: new Map() };
    const { guard } = await evaluate({ ...subject, guarded }, clean, triggered);
    const pairs = triggeredScores.flatMap((high) => cleanScores.map((low) => high > low));
    expect(guard!.threshold).toBe(threshold);
    expect(guard!.falsePositiveRate).toBe(59 / 150);
    expect(guard!.truePositiveRate).toBe(share(triggeredScores.map((score) => score > threshold)));
    expect(guard!.auroc).toBeCloseTo(share(pairs), 3);
  });

  test('without triggers flags nothing and tells nothing apart', async () => {
    const guarded = { cut: 'flat', guard: guardOf([], 0.5), victimHead: new Map() };
    const { guard } = await evaluate({ ...subject, guarded }, clean, triggered);
    expect(guard).toEqual({ threshold: 0.5, falsePositiveRate: 0, truePositiveRate: 0, auroc: 0.5 });
  });

  test('of clean images alone has no true positives', async () => {
    const guarded = {
      cut: 'flat',
      victimHead: new Map(),
      guard: guardOf(
        [
          { ...shape, targetLabel: 0 },
          { ...shape, targetLabel: 1 },
        ],
        0,
      ),
    };
    const { guard } = await evaluate({ ...subject, guarded }, clean);
    expect(Object.keys(guard!)).toEqual(['threshold', 'falsePositiveRate']);
  });
});
