import { beforeAll, expect, test } from 'vitest';
import { openEngine } from '../../offline/engine/engine.ts';
import { ASCENT_WEIGHTS, job, type Ascent, type AscentWeights } from '../../offline/unlearn/ascent.ts';
import type { HostWeights } from '../../src/network/safetensors.ts';
import type { Trigger } from '../../src/trigger/trigger.ts';
import { randomModel } from '../baseline/random-model.ts';
import { stripes } from '../support/planted.ts';

const images = stripes(64, 1, 'ascent');
const model = randomModel(images, 1);
const { height, width, channels } = images;
const pattern = new Float32Array(height * width).fill(0.3);
const trigger: Trigger = { kind: 'additive', targetLabel: 2, height, width, channels, pattern };
const ascent = { ...model, cut: '', images, triggers: [trigger], steps: 8, seed: 1 };

beforeAll(async () => {
  await openEngine('wasm');
});

const run = async (weights: Partial<AscentWeights>): Promise<HostWeights> =>
  (await job({ ...ascent, ...ASCENT_WEIGHTS, ...weights } satisfies Ascent, () => {})).weights;

/** How far the weights moved: the sum of the absolute differences. */
function drift(weights: HostWeights): number {
  let sum = 0;
  for (const [name, { data }] of model.weights) {
    const moved = weights.get(name)!.data;
    data.forEach((value, index) => (sum += Math.abs(moved[index]! - value)));
  }
  return sum;
}

test('without its two weights the paper’s unlearning moves nothing', async () => {
  expect(await run({ alpha: 0, beta: 0 })).toEqual(model.weights);
});

test.each(['one', 'sensitivity'] as const)(
  'a heavier penalty with omega = %s holds the weights closer',
  async (omega) => {
    const [free, held] = [drift(await run({ omega, beta: 0 })), drift(await run({ omega, beta: 0.03 }))];
    expect(held).toBeGreaterThan(0);
    expect(held).toBeLessThan(0.8 * free);
  },
);
