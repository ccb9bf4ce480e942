import { beforeAll, expect, test } from 'vitest';
import { openEngine, type Engine } from '../../offline/engine/engine.ts';
import { isCovering, type Measured } from '../../offline/recover/measure.ts';
import { keptLabels, rankTogether, screenAll } from '../../offline/recover/screening.ts';
import type { Trigger } from '../../src/trigger/trigger.ts';
import type { Network } from '../../src/network/network.ts';
import type { HostWeights } from '../../src/network/safetensors.ts';

const LABELS = 24;
const SIDE = 8;
const AREA = SIDE * SIDE;
const PLANTED = 17;

let engine: Engine;
beforeAll(async () => {
  const opened = await openEngine('wasm');
  if (!opened.ok) throw new Error(opened.error);
  engine = opened.value;
});

const found = (targetLabel: number, norm: number, hitRate = 1): Measured => {
  const trigger: Trigger = {
    kind: 'additive',
    targetLabel,
    height: 1,
    width: 1,
    channels: 1,
    pattern: new Float32Array(1),
  };
  return { form: 'additive', trigger, norm, hitRate };
};

test('of many labels those with the smallest working triggers stay, and those that are asked for', () => {
  const short = Array.from({ length: 30 }, (_, label) =>
    found(label, label === 3 ? 0.1 : 30 - label, label === 3 ? 0.2 : 1),
  );
  expect(keptLabels(short, 10)).toEqual([20, 21, 22, 23, 24, 25, 26, 27, 28, 29]);
  expect(keptLabels(short, 10, [3, 29])).toEqual([3, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29]);
});

test('labels that were not followed to the end count as if they had shrunk as much as the others, and keep the norm they have', () => {
  const short = [found(0, 40), found(1, 44), found(2, 36), found(3, 38), found(4, 42)];
  const { labels } = rankTogether('additive', short, [found(1, 22), found(2, 2), found(3, 19)]);
  expect(labels.map(({ norm }) => norm)).toEqual([40, 22, 2, 19, 42]);
  // As among the norms 20, 22, 2, 19 and 21.
  expect(labels[2]!.anomalyIndex).toBeGreaterThan(10);
  for (const label of [0, 1, 3, 4]) expect(Math.abs(labels[label]!.anomalyIndex)).toBeLessThan(2);
});

/** Label 17 needs one bright pixel, every other label a share of the image of its own. */
function linear(): { network: Network; weights: HostWeights } {
  const network: Network = {
    schemaVersion: 1,
    input: { height: SIDE, width: SIDE, channels: 1 },
    labelNames: Array.from({ length: LABELS }, (_, label) => `${label}`),
    layers: [
      { type: 'flatten', name: 'flat', inputs: ['images'] },
      { type: 'dense', name: 'logits', inputs: ['flat'], units: LABELS, bias: true },
    ],
    output: 'logits',
  };
  const kernel = Float32Array.from({ length: AREA * LABELS }, (_, index) => {
    const [pixel, label] = [Math.floor(index / LABELS), index % LABELS];
    if (label === PLANTED) return pixel === 9 ? 20 : 0;
    return (pixel * 7 + label * 5) % AREA < 16 ? 1 : 0;
  });
  const bias = Float32Array.from({ length: LABELS }, (_, label) => (label === PLANTED ? -2 : 0));
  return {
    network,
    weights: new Map([
      ['logits/kernel', { dtype: 'F32', shape: [AREA, LABELS], data: kernel }],
      ['logits/bias', { dtype: 'F32', shape: [LABELS], data: bias }],
    ]),
  };
}

test('screening many labels finds the planted one, and gives every label a trigger and an index in every form', async () => {
  const count = 4 * LABELS;
  const images = {
    images: Uint8Array.from({ length: count * AREA }, (_, index) => (index * 37) % 23),
    count,
    height: SIDE,
    width: SIDE,
    channels: 1,
    labels: Int32Array.from({ length: count }, (_, index) => index % LABELS),
    labelNames: null,
  };
  const recovery = { ...linear(), split: { learn: images, heldBack: images }, seed: 1, engine };
  const screenings = await screenAll(recovery, () => {});
  expect(screenings.map(({ form }) => form)).toEqual(['blend', 'additive', 'dense', 'smooth', 'warp']);
  for (const { form, labels } of screenings) {
    expect(labels.map(({ trigger }) => trigger.targetLabel)).toEqual(
      Array.from({ length: LABELS }, (_, label) => label),
    );
    // A single pixel is no smaller than the whole image by the norm of triggers that cover it.
    if (isCovering(form)) continue;
    const most = Math.max(...labels.map(({ anomalyIndex }) => anomalyIndex));
    expect(labels.findIndex(({ anomalyIndex }) => anomalyIndex === most)).toBe(PLANTED);
    expect(labels[PLANTED]!.hitRate).toBeGreaterThan(0.9);
  }
});
