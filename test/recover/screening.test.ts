import { beforeAll, describe, expect, test } from 'vitest';
import type { Dataset } from '../../offline/data/dataset.ts';
import type { Engine } from '../../offline/engine/engine.ts';
import { randomSource } from '../../offline/engine/random.ts';
import { openWasm } from '../../offline/engine/wasm.ts';
import { measureTriggers, type Measured } from '../../offline/recover/measure.ts';
import { confirmed, CONFIRMED_HIT_RATE } from '../../offline/recover/pool.ts';
import { splitClean, type Screening } from '../../offline/recover/screening.ts';
import { suspectLabels } from '../../offline/scan.ts';
import type { Network } from '../../src/network/network.ts';
import type { HostWeights } from '../../src/network/safetensors.ts';
import type { Trigger, TriggerKind } from '../../src/trigger/trigger.ts';
import { asCandidates } from '../support/candidates.ts';

beforeAll(openWasm);

/** Images of one pixel whose value is their own number, so that each can be recognised. */
function numbered(labels: readonly number[]): Dataset {
  const images = Uint8Array.from(labels.keys());
  return {
    images,
    count: labels.length,
    height: 1,
    width: 1,
    channels: 1,
    labels: Int32Array.from(labels),
    labelNames: null,
  };
}

describe('splitting the clean images', () => {
  const random = randomSource(1, 'test/split');
  const images = numbered(Array.from({ length: 200 }, () => random.integer(4)));

  test('puts every image with its label into exactly one part, three tenths of every label held back', () => {
    const { learn, heldBack } = splitClean(images, 3);
    expect([...learn.images, ...heldBack.images].toSorted((a, b) => a - b)).toEqual([...images.images]);
    for (const part of [learn, heldBack]) {
      part.images.forEach((image, index) => expect(part.labels[index]).toBe(images.labels[image]));
    }
    for (const label of [0, 1, 2, 3]) {
      const of = (part: Dataset): number => part.labels.filter((other) => other === label).length;
      expect(of(heldBack)).toBe(Math.round(0.3 * of(images)));
    }
  });

  test('follows from its seed', () => {
    expect(splitClean(images, 3)).toEqual(splitClean(images, 3));
    expect(splitClean(images, 3).heldBack.images).not.toEqual(splitClean(images, 4).heldBack.images);
  });
});

test.each([1, 2])(
  'the success rate of a trigger counts held-back images of other labels only (%i threads)',
  async (threads) => {
    const network: Network = {
      schemaVersion: 1,
      input: { height: 1, width: 1, channels: 1 },
      labelNames: ['dark', 'bright'],
      layers: [
        { type: 'flatten', name: 'flat', inputs: ['images'] },
        { type: 'dense', name: 'logits', inputs: ['flat'], units: 2, bias: true },
      ],
      output: 'logits',
    };
    // Bright from 100/255 on.
    const weights: HostWeights = new Map([
      ['logits/kernel', { dtype: 'F32', shape: [1, 2], data: Float32Array.of(0, 255) }],
      ['logits/bias', { dtype: 'F32', shape: [2], data: Float32Array.of(0, -99.5) }],
    ]);
    const images = numbered(Array.from({ length: 120 }, (_, index) => (index < 100 ? 0 : 1)));
    const shape = { kind: 'additive', height: 1, width: 1, channels: 1 } as const;
    const triggers: Trigger[] = [
      { ...shape, targetLabel: 1, pattern: Float32Array.of(40 / 255) },
      { ...shape, targetLabel: 0, pattern: Float32Array.of(-15 / 255) },
    ];
    const engine: Engine = { kind: 'wasm', device: 'test', threads };
    const measured = await measureTriggers({ network, weights, engine }, images, asCandidates(triggers));
    // 60 .. 99 of the 100 dark ones get bright; 100 .. 114 of the 20 bright ones get dark.
    expect(measured.map(({ hitRate }) => hitRate)).toEqual([0.4, 0.75]);
    expect(measured.map(({ trigger }) => trigger)).toEqual(triggers);
    measured.forEach(({ norm }, index) => expect(norm).toBeCloseTo([40 / 255, 15 / 255][index]!, 6));
  },
);

const measured = (kind: TriggerKind, norm: number, hitRate: number): Measured => {
  const shape = { targetLabel: 0, height: 1, width: 1, channels: 1, pattern: new Float32Array(1) };
  const trigger: Trigger = kind === 'blend' ? { ...shape, kind, mask: new Float32Array(1) } : { ...shape, kind };
  return { form: kind, trigger, norm, hitRate };
};

test('a pool holds what works and is at most half again as large as the smallest working one of its form, the smallest first', () => {
  const [idle, small, fits, large] = [
    measured('blend', 1, CONFIRMED_HIT_RATE - 0.01),
    measured('blend', 4, CONFIRMED_HIT_RATE),
    measured('blend', 6, 1),
    measured('blend', 6.1, 1),
  ];
  const other = measured('additive', 5, 0.9);
  expect(confirmed([large, fits, other, idle, small])).toEqual([small, other, fits]);
  expect(confirmed([idle])).toEqual([]);
});

describe('the suspects', () => {
  const screening = (kind: TriggerKind, indices: readonly number[]): Screening => ({
    form: kind,
    labels: indices.map((anomalyIndex) => ({ ...measured(kind, 1, 1), anomalyIndex })),
  });

  test('are the strongest outliers of either form, each once, the strongest first', () => {
    const screenings = [screening('blend', [0, 3, 0, -1, 1]), screening('additive', [0, 2, -1, 5, 0])];
    expect(suspectLabels(screenings)).toEqual([3, 1, 4]);
  });

  test('are looked into even where none is an outlier', () => {
    const screenings = [screening('blend', [0.2, 0, 0, -1]), screening('additive', [-1, 0.1, -1, 0.4])];
    expect(suspectLabels(screenings)).toEqual([3, 0, 1]);
  });

  test('are three at most', () => {
    const many = screening('blend', [2, 3, 4, 5, 6]);
    expect(suspectLabels([many, screening('additive', [9, 0, 0, 0, 0])])).toEqual([0, 4, 3]);
  });
});
