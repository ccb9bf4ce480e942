/** TensorFlow.js models that were damaged, or made to do harm: always a sentence, never a crash, a hang or memory without bound. */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { completeDraft } from '../../offline/import/imported.ts';
import { readTfjs } from '../../offline/import/tfjs/tfjs.ts';
import { useBackend } from '../network/backends.ts';
import { testDirectory } from '../support/directory.ts';
import { mutate } from './mutate.ts';
import { mutateJson } from './mutate-json.ts';
import { randomise, tfjsModels, writeTfjs } from './tfjs-models.ts';

const MEMORY_LIMIT_KIB = 2 ** 20;

beforeAll(() => useBackend('cpu'));

it('2,000 damaged models are imported or refused', { timeout: 300_000 }, async () => {
  const folder = await testDirectory();
  const sources = await Promise.all(
    tfjsModels.map(async ([name, make]) => {
      const made = make();
      randomise(made, 3);
      await writeTfjs(made, path.join(folder, name), 16_000);
      const names = (await readdir(path.join(folder, name))).toSorted();
      return new Map(
        await Promise.all(names.map(async (file) => [file, await readFile(path.join(folder, name, file))] as const)),
      );
    }),
  );
  const errors: string[] = [];
  for (let seed = 0; seed < 2000; seed++) {
    const source = sources[seed % 2]!;
    const names = [...source.keys()];
    const name = seed % 4 < 2 ? 'model.json' : names[seed % names.length]!;
    const bytes = source.get(name)!;
    const damaged =
      seed % 8 < 2 ? Buffer.from(mutateJson(bytes.toString(), seed)) : mutate(new Uint8Array(bytes), seed);
    for (const [file, content] of new Map(source).set(name, Buffer.from(damaged))) {
      await writeFile(path.join(folder, file), content);
    }
    const draft = await readTfjs(folder, {});
    const model = draft.ok ? completeDraft(draft.value, {}) : draft;
    if (!model.ok) errors.push(model.error);
  }
  expect(errors.length).toBeGreaterThan(1000);
  expect(errors.filter((error) => error.length === 0 || error.length > 2000)).toEqual([]);
  expect(process.resourceUsage().maxRSS).toBeLessThan(MEMORY_LIMIT_KIB);
});

type Group = { paths: string[]; weights: { name: string; shape: number[]; dtype: string; quantization?: object }[] };
type Json = {
  format: string;
  modelTopology: { config: { layers: { config: Record<string, unknown> }[] } };
  weightsManifest: [Group];
};

/** A model whose model.json was changed; what the one sentence about it says, without the path of the file. */
async function refusal(change: (json: Json) => unknown): Promise<string> {
  const folder = await testDirectory();
  await writeTfjs(tfjsModels[0]![1](), folder, 16_000);
  const file = path.join(folder, 'model.json');
  const json = JSON.parse(await readFile(file, 'utf8')) as Json;
  change(json);
  await writeFile(file, JSON.stringify(json));
  const draft = await readTfjs(folder, {});
  expect(draft.ok).toBe(false);
  return draft.ok ? '' : draft.error.replaceAll(folder, '');
}

it.each<[string, (json: Json) => unknown, string]>([
  [
    'a graph model',
    (json) => (json.format = 'graph-model'),
    'tensorflowjs_converter --output_format=tfjs_layers_model',
  ],
  [
    'a shard above the folder',
    (json) => (json.weightsManifest[0].paths[0] = '../secret.bin'),
    'expected a path within the folder of model.json',
  ],
  [
    'a shard at an absolute path',
    (json) => (json.weightsManifest[0].paths[0] = '/etc/passwd'),
    'expected a path within the folder of model.json',
  ],
  ['a shard that is not there', (json) => (json.weightsManifest[0].paths[0] = 'other.bin'), '/other.bin: no such file'],
  [
    'a shard that is named twice',
    (json) => (json.weightsManifest[0].paths[1] = json.weightsManifest[0].paths[0]!),
    'expected every shard once',
  ],
  ['shards that are too small', (json) => json.weightsManifest[0].paths.pop(), 'bytes more for the weights'],
  ['shards that are too large', (json) => json.weightsManifest[0].weights.pop(), 'expected at most'],
  [
    'weights of terabytes',
    (json) => (json.weightsManifest[0].weights[0]!.shape = [2 ** 20, 2 ** 20]),
    'expected weights of at most 268435456 bytes in all',
  ],
  [
    'float16',
    (json) => (json.weightsManifest[0].weights[0]!.dtype = 'float16'),
    'expected float32 (convert the model without quantization), got float16',
  ],
  [
    'quantized weights',
    (json) => (json.weightsManifest[0].weights[0]!.quantization = { dtype: 'uint8', min: 0, scale: 1 }),
    'got quantized numbers',
  ],
  [
    'two weights of one name',
    (json) => json.weightsManifest[0].weights.push(json.weightsManifest[0].weights[0]!),
    'the name is used twice',
  ],
  [
    'channels first',
    (json) => (json.modelTopology.config.layers[1]!.config['data_format'] = 'channels_first'),
    'unsupported layers: Conv2D',
  ],
])('refuses %s', async (_, change, said) => {
  expect(await refusal(change)).toContain(said);
});
