import { createHash } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { digestModel, loadModel, saveModel, type Model } from '../offline/model.ts';
import { weightShapes } from '../src/network/network.ts';
import { encodeSafetensors } from '../src/network/safetensors.ts';
import { testDirectory } from './support/directory.ts';
import { randomWeights, testNetwork } from './support/release.ts';

const model: Model = { network: testNetwork, weights: randomWeights(weightShapes(testNetwork), 1) };

async function saved(): Promise<string> {
  const directory = join(await testDirectory(), 'model');
  const result = await saveModel(directory, model, new Map([['notes.txt', new Uint8Array([104, 105])]]));
  if (!result.ok) throw new Error(result.error);
  return directory;
}

async function refusal(directory: string): Promise<string> {
  const loaded = await loadModel(directory);
  return loaded.ok ? 'accepted' : loaded.error;
}

const sha256 = (bytes: Uint8Array): Buffer => createHash('sha256').update(bytes).digest();

describe('a model directory', () => {
  test('gives back the model that was saved, and the further files lie beside it', async () => {
    const directory = await saved();
    expect(await loadModel(directory)).toEqual({ ok: true, value: model });
    expect((await readdir(directory)).sort()).toEqual(['network.json', 'notes.txt', 'weights.safetensors']);
    expect(await readFile(join(directory, 'notes.txt'), 'utf8')).toBe('hi');
  });

  test('is not overwritten', async () => {
    const directory = await saved();
    const error = `${directory}: expected a new or empty directory`;
    expect(await saveModel(directory, model)).toEqual({ ok: false, error });
  });

  test('is refused without one of its files', async () => {
    const directory = await testDirectory();
    expect(await refusal(directory)).toBe(`${join(directory, 'network.json')}: no such file`);
    await writeFile(join(directory, 'network.json'), JSON.stringify(testNetwork));
    expect(await refusal(directory)).toBe(`${join(directory, 'weights.safetensors')}: no such file`);
  });

  test('is refused with a network that is no JSON or does not hold together', async () => {
    const directory = await saved();
    const file = join(directory, 'network.json');
    await writeFile(file, '{');
    expect(await refusal(directory)).toBe(`${file}: expected JSON, got other text`);
    await writeFile(file, JSON.stringify({ ...testNetwork, output: 'pool' }));
    expect(await refusal(directory)).toBe(`${file}: network: output "pool": expected [3] (one logit a label), got [6]`);
  });

  test('is refused with weights that are cut short or belong to another network', async () => {
    const directory = await saved();
    const file = join(directory, 'weights.safetensors');
    const bytes = await readFile(file);
    await writeFile(file, bytes.subarray(0, -1));
    expect(await refusal(directory)).toMatch(/weights\.safetensors: safetensors: expected \d+ bytes/);
    const others = new Map(model.weights).set('logits/bias', { dtype: 'F32', shape: [4], data: new Float32Array(4) });
    await writeFile(file, encodeSafetensors(others));
    expect(await refusal(directory)).toBe(`${file}: tensor "logits/bias": expected F32 [3], got F32 [4]`);
  });

  test('is refused when its path is that of a file', async () => {
    expect(await refusal(join(await saved(), 'notes.txt'))).toMatch(/notes\.txt\/network\.json: cannot be read/);
  });
});

describe('digestModel', () => {
  test('is the digest of the digests of the two files that saveModel writes', async () => {
    const directory = await saved();
    const digests = await Promise.all(
      ['network.json', 'weights.safetensors'].map(async (name) => sha256(await readFile(join(directory, name)))),
    );
    expect(digestModel(model)).toBe(sha256(Buffer.concat(digests)).toString('hex'));
  });

  test('does not depend on the order of fields and weights, only on their values', () => {
    const reordered: Model = {
      network: Object.fromEntries(Object.entries(testNetwork).reverse()) as Model['network'],
      weights: new Map([...model.weights].reverse()),
    };
    expect(digestModel(reordered)).toBe(digestModel(model));
    const changed = new Map(model.weights).set('logits/bias', { dtype: 'F32', shape: [3], data: new Float32Array(3) });
    expect(digestModel({ ...model, weights: changed })).not.toBe(digestModel(model));
  });

  test('throws when a weight is missing', () => {
    expect(() => digestModel({ ...model, weights: new Map() })).toThrow('weight "stage1/conv/kernel"');
  });
});
