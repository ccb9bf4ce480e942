import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { makeVictim, type Attack, type Victim } from '../../offline/attack/attack.ts';
import { initialWeights, smallCnn } from '../../offline/attack/small-cnn.ts';
import { saveVictim } from '../../offline/attack/victim-files.ts';
import { everyIndex } from '../../offline/batch.ts';
import { openWasm } from '../../offline/engine/wasm.ts';
import { loadModel } from '../../offline/model.ts';
import { predict } from '../../offline/predict.ts';
import { toDevice } from '../../src/network/forward.ts';
import { parseNetwork, weightShapes } from '../../src/network/network.ts';
import { decodeSafetensors } from '../../src/network/safetensors.ts';
import { testDirectory } from '../support/directory.ts';
import { stripes } from '../support/planted.ts';

const ATTACK: Attack = { kind: 'badnets', targetLabel: 1, patchSize: 3, poisonRate: 0.1, epochs: 1, seed: 4 };
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
    const { model, card, trueTrigger } = victim;
    const weights = toDevice(model.weights);
    const all = everyIndex(fresh.count);
    const clean = await predict(model.network, weights, fresh, all);
    const triggered = await predict(model.network, weights, fresh, all, trueTrigger);
    const others = [...all].filter((index) => fresh.labels[index] !== 1);
    expect(card).toEqual({
      ...ATTACK,
      architecture: 'small-cnn',
      cleanAccuracy: clean.filter((answer, index) => answer === fresh.labels[index]).length / fresh.count,
      attackSuccessRate: others.filter((index) => triggered[index] === 1).length / others.length,
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
    expect(control).not.toHaveProperty('trueTrigger');
    expect(control.card).not.toHaveProperty('attackSuccessRate');
    expect(control.model.weights).not.toEqual(victim.model.weights);
  });
});

test('a victim on disk opens as the same model, with its card and its true trigger beside it', async () => {
  const directory = join(await testDirectory(), 'victim');
  expect(await saveVictim(directory, victim)).toMatchObject({ ok: true });
  expect(await loadModel(directory)).toEqual({ ok: true, value: victim.model });
  expect(JSON.parse(await readFile(join(directory, 'card.json'), 'utf8'))).toEqual(victim.card);
  const stored = decodeSafetensors(await readFile(join(directory, 'trigger.safetensors')));
  if (!stored.ok || victim.trueTrigger?.kind !== 'blend') throw new Error('expected a blended trigger');
  expect(stored.value.tensors.get('mask')).toEqual({ dtype: 'F32', shape: [12, 12, 1], data: victim.trueTrigger.mask });
  const { pattern } = victim.trueTrigger;
  expect(stored.value.tensors.get('pattern')).toEqual({ dtype: 'F32', shape: [12, 12, 1], data: pattern });
});
