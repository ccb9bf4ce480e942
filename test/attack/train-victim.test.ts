import { memory } from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import type { GivenAttack } from '../../offline/attack/attack.ts';
import { initialWeights } from '../../offline/attack/initial-weights.ts';
import { makeVictim } from '../../offline/attack/make-victim.ts';
import { buildNetwork } from '../../offline/attack/networks.ts';
import { trainVictim } from '../../offline/attack/train-victim.ts';
import type { Dataset } from '../../offline/data/dataset.ts';
import { openWasm } from '../../offline/engine/wasm.ts';
import { stripes } from '../support/planted.ts';

beforeAll(openWasm);

/** The same grey images, with a channel or with three. */
function striped(channels: 1 | 3): Dataset {
  const grey = stripes(128, 4, 'test/train');
  const images = Uint8Array.from(
    { length: grey.images.length * channels },
    (_, i) => grey.images[Math.floor(i / channels)]!,
  );
  return { ...grey, channels, images };
}

async function kernelAfter(channels: 1 | 3, flippable: (index: number) => boolean): Promise<string> {
  const dataset = striped(channels);
  const network = buildNetwork('small-cnn', dataset, dataset.labelNames!);
  const weights = await trainVictim({
    network,
    initial: initialWeights(network, 1),
    data: () => ({ dataset, flippable }),
    epochs: 1,
    peakLearningRate: 0.05,
    seed: 1,
  });
  return weights.get('logits/kernel')!.data.join();
}

describe('training a victim', () => {
  test('mirrors colour images, but none that must keep its trigger, and no grey ones', async () => {
    const [free, held] = [(): boolean => true, (): boolean => false];
    expect(await kernelAfter(1, free)).toBe(await kernelAfter(1, held));
    const colour = await Promise.all(
      [held, free, (index: number) => index % 2 === 0].map((may) => kernelAfter(3, may)),
    );
    expect(new Set(colour).size).toBe(3);
  });

  test('on fewer images than a batch takes them all in one step an epoch', async () => {
    const [few, steps] = [stripes(30, 4, 'test/few'), [] as { step: number; steps: number }[]];
    await makeVictim({ kind: 'none', epochs: 2, seed: 1 }, few, few, (step) => steps.push(step));
    expect(steps).toEqual([1, 2].map((step) => ({ step, steps: 2 })));
  });

  test.each<GivenAttack>([
    { kind: 'badnets', patchSize: 3, architecture: 'small-vgg', targetLabel: 1, poisonRate: 0.1, epochs: 1, seed: 4 },
    { kind: 'imc', patchSize: 3, targetLabel: 1, poisonRate: 0.1, epochs: 1, seed: 4 },
    { kind: 'hidden', patchSize: 3, hiding: 1, targetLabel: 1, poisonRate: 0.1, epochs: 1, seed: 4 },
  ])('by $kind leaves no tensor behind', async (attack) => {
    const [train, fresh] = [stripes(128, 4, 'test/train'), stripes(20, 4, 'test/fresh')];
    const before = memory().numTensors;
    await makeVictim(attack, train, fresh, () => {});
    expect(memory().numTensors).toBe(before);
  });
});
