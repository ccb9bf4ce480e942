import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Dataset } from '../../offline/data/dataset.ts';
import { adoptLabelNames, openModel, type OpenedModel } from '../../offline/import/open.ts';
import { digestModel, saveModel, type Model } from '../../offline/model.ts';
import { weightShapes } from '../../src/network/network.ts';
import { publicKeyPem } from '../../src/release/encoding.ts';
import { testDirectory } from '../support/directory.ts';
import { createKey, randomWeights, signedRelease, testContent, testNetwork } from '../support/release.ts';

const model: Model = { network: testNetwork, weights: randomWeights(weightShapes(testNetwork), 1) };

async function savedModel(): Promise<string> {
  const directory = join(await testDirectory(), 'model');
  const saved = await saveModel(directory, model);
  if (!saved.ok) throw new Error(saved.error);
  return directory;
}

async function savedRelease() {
  const root = await testDirectory();
  const [directory, keyFile] = [join(root, 'release'), join(root, 'key.pub')];
  const key = await createKey();
  const content = testContent();
  const { files, digest } = await signedRelease(key, content);
  await mkdir(directory);
  for (const [name, bytes] of files) await writeFile(join(directory, name), bytes);
  await writeFile(keyFile, publicKeyPem(key.publicKey));
  return { directory, keyFile, content, digest };
}

describe('openModel', () => {
  test('opens a model directory, or its network.json, and names it by the digest of its two files', async () => {
    const directory = await savedModel();
    const source = { format: 'network', digest: digestModel(model), input: null };
    for (const path of [directory, join(directory, 'network.json')]) {
      expect(await openModel(path, {}, 'none')).toEqual({
        ok: true,
        value: { ...model, path: directory, source, imported: null },
      });
    }
  });

  test('opens the purified model of a release together with its guard, if the given key signed it', async () => {
    const { directory, keyFile, content, digest } = await savedRelease();
    const { manifest, weights, guard, victimHead } = content;
    expect(await openModel(directory, {}, keyFile)).toEqual({
      ok: true,
      value: {
        network: manifest.network,
        weights,
        path: directory,
        source: { format: 'release', digest, input: null },
        imported: null,
        guarded: { cut: manifest.cut, guard, victimHead },
      },
    });
    await writeFile(keyFile, publicKeyPem((await createKey()).publicKey));
    const refused = await openModel(directory, {}, keyFile);
    expect(refused).toMatchObject({ ok: false, error: expect.stringContaining(`${directory}: signature`) as string });
  });

  test('refuses input settings for a release and for a model directory, which state their input themselves', async () => {
    const { directory, keyFile } = await savedRelease();
    expect(await openModel(directory, { scale: 255 }, keyFile)).toEqual({
      ok: false,
      error: `--scale: expected a model file of another program with it, got ${directory}, a release that states its input itself`,
    });
    const own = await savedModel();
    expect(await openModel(own, { mean: [0.5] }, 'none')).toMatchObject({
      ok: false,
      error: expect.stringContaining(`--mean: expected a model file of another program`) as string,
    });
  });
});

describe('adoptLabelNames', () => {
  const numbered = { ...testNetwork, labelNames: ['0', '1', '2'] };
  const opened = (network = numbered, imported: object | null = {}) =>
    ({ ...model, network, imported }) as unknown as OpenedModel;
  const images = (labelNames: string[] | null) => ({ labelNames }) as unknown as Dataset;
  const names = ['cat', 'dog', 'owl'];

  test('gives an imported model that knows only numbers the names of the images', () => {
    expect(adoptLabelNames(opened(), images(names)).network).toEqual({ ...numbered, labelNames: names });
  });

  test.each<[string, OpenedModel, string[] | null]>([
    ['has names of its own', opened(testNetwork), names],
    ['is a model directory, whose names are stated', opened(numbered, null), names],
    ['has another number of labels', opened(), ['cat', 'dog']],
    ['meets images without names', opened(), null],
    ['meets a name beyond what a network may hold', opened(), ['cat', 'dog', 'x'.repeat(201)]],
  ])('does NOT rename labels when the model %s', (_, given, labelNames) => {
    expect(adoptLabelNames(given, images(labelNames))).toBe(given);
  });
});
