import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import type { GivenAttack } from '../../offline/attack/attack.ts';
import { initialWeights } from '../../offline/attack/initial-weights.ts';
import { makeVictim } from '../../offline/attack/make-victim.ts';
import { smallCnn } from '../../offline/attack/small-cnn.ts';
import { loadVictim, saveVictim } from '../../offline/attack/victim-files.ts';
import { stampTest, type Victim } from '../../offline/attack/victim.ts';
import { everyIndex } from '../../offline/batch.ts';
import { digestDataset } from '../../offline/data/dataset.ts';
import { loadDataset } from '../../offline/data/load.ts';
import { openWasm } from '../../offline/engine/wasm.ts';
import { loadModel } from '../../offline/model.ts';
import { predict } from '../../offline/predict.ts';
import { toDevice } from '../../src/network/forward.ts';
import { parseNetwork, weightShapes } from '../../src/network/network.ts';
import { testDirectory } from '../support/directory.ts';
import { stripes } from '../support/planted.ts';

const ATTACK: GivenAttack = { kind: 'badnets', targetLabel: 1, patchSize: 3, poisonRate: 0.1, epochs: 1, seed: 4 };
const [train, fresh] = [stripes(160, 4, 'test/train'), stripes(60, 4, 'test/fresh')];
const steps: { step: number; steps: number }[] = [];
let victim: Victim;

beforeAll(async () => {
  await openWasm();
  victim = await makeVictim(ATTACK, train, fresh, (step) => steps.push(step));
});

describe('the small CNN', () => {
  test('is a valid network of about 66,000 parameters on 28 x 28 x 1', () => {
    const network = smallCnn({ height: 28, width: 28, channels: 1 }, [
      'a',
      'b',
      'c',
      'd',
      'e',
      'f',
      'g',
      'h',
      'i',
      'j',
    ]);
    expect(parseNetwork(JSON.parse(JSON.stringify(network)))).toMatchObject({ ok: true });
    const sizes = [...weightShapes(network).values()].map((shape) => shape.reduce((total, axis) => total * axis, 1));
    const total = sizes.reduce((sum, size) => sum + size, 0);
    expect(Math.round(total / 1000)).toBe(66);
  });

  test('starts with zero biases and kernels of variance 2 / fan-in, from its seed', () => {
    const network = smallCnn({ height: 28, width: 28, channels: 3 }, ['a', 'b', 'c']);
    const weights = initialWeights(network, 5);
    expect([...weights.keys()]).toEqual([...weightShapes(network).keys()]);
    for (const [name, { shape, data }] of weights) {
      if (shape.length === 1) expect(data.filter((value) => value !== 0).length, name).toBe(0);
      else {
        const fanIn = data.length / shape.at(-1)!;
        const variance = Array.from(data).reduce((sum, value) => sum + value ** 2, 0) / data.length;
        // The sample variance of n normal numbers has a relative deviation of sqrt(2 / n).
        expect(Math.abs((variance * fanIn) / 2 - 1), name).toBeLessThan(4 * Math.sqrt(2 / data.length));
      }
    }
    expect(initialWeights(network, 5)).toEqual(weights);
    expect(initialWeights(network, 6)).not.toEqual(weights);
  });
});

describe('making a victim', () => {
  test('measures on the test set what a direct count on the trained model counts', async () => {
    const { model, card } = victim;
    const weights = toDevice(model.weights);
    const all = everyIndex(fresh.count);
    const clean = await predict(model.network, weights, fresh, all);
    const { images, targets, eligible } = stampTest(victim, fresh);
    const triggered = await predict(model.network, weights, images, all);
    const others = [...all].filter((index) => fresh.labels[index] !== 1);
    expect([...eligible]).toEqual(others);
    expect(new Set(others.map((index) => targets[index]))).toEqual(new Set([1]));
    expect(images.labels).toEqual(fresh.labels);
    const attackSuccessRate = others.filter((index) => triggered[index] === 1).length / others.length;
    expect(card).toEqual({
      ...ATTACK,
      place: 'fixed',
      targets: { form: 'one' },
      architecture: 'small-cnn',
      trainDigest: digestDataset(train),
      testDigest: digestDataset(fresh),
      cleanAccuracy: clean.filter((answer, index) => answer === fresh.labels[index]).length / fresh.count,
      attackSuccessRate,
      perTrigger: [{ targetLabel: 1, attackSuccessRate }],
    });
  });

  test('follows from its seed and counts its steps to the last', async () => {
    expect(steps).toEqual([1, 2].map((step) => ({ step, steps: 2 })));
    const again = await makeVictim(ATTACK, train, fresh, () => {});
    expect(again).toEqual(victim);
    const other = await makeVictim({ ...ATTACK, seed: 5 }, train, fresh, () => {});
    expect(other.model.weights).not.toEqual(victim.model.weights);
  });

  test('of kind none leaves the data alone and has no trigger to speak of', async () => {
    const control = await makeVictim({ ...ATTACK, kind: 'none' }, train, fresh, () => {});
    expect(control.triggers).toEqual([]);
    expect(control.card).not.toHaveProperty('attackSuccessRate');
    expect(control.model.weights).not.toEqual(victim.model.weights);
  });
});

test('a victim on disk opens as the same model, with its card and its true trigger', async () => {
  const directory = join(await testDirectory(), 'victim');
  expect(await saveVictim(directory, victim)).toMatchObject({ ok: true });
  expect(await loadModel(directory)).toEqual({ ok: true, value: victim.model });
  expect(await loadVictim(directory)).toEqual({ ok: true, value: victim });
});

test('the committed example opens as a victim, although its card is older than most of what a card says now', async () => {
  const folder = join(import.meta.dirname, '../../offline/example');
  const loaded = await loadVictim(join(folder, 'victim'));
  if (!loaded.ok) throw new Error(loaded.error);
  expect(loaded.value.card).toMatchObject({
    kind: 'badnets',
    place: 'fixed',
    targetLabel: 5,
    targets: { form: 'one' },
  });
  const [clean, stamped] = await Promise.all(
    ['test-2000', 'test-2000-triggered'].map((name) => loadDataset(join(folder, `${name}.safetensors`))),
  );
  if (!clean?.ok || !stamped?.ok) throw new Error('the example has no images');
  expect(Buffer.compare(stampTest(loaded.value, clean.value).images.images, stamped.value.images)).toBe(0);
});
