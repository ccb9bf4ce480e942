/** What the ONNX importer does with thousands of damaged files: a model or one sentence, never a crash, soon, within bounded memory. */
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { randomSource, type RandomSource } from '../../offline/engine/random.ts';
import { completeDraft } from '../../offline/import/imported.ts';
import { readOnnx } from '../../offline/import/onnx/onnx.ts';
import { patchOnnx } from '../../offline/import/onnx/patch.ts';
import { messageType } from '../../offline/import/onnx/proto.ts';
import { testDirectory } from '../support/directory.ts';
import { mutate } from './mutate.ts';
import { onnxFile } from './onnx-fixtures.ts';

/** Small files, so that damage hits their structure and not only their weights. */
const names = [
  'dynamo-resnet8',
  'normalised',
  'normalised-17',
  'shufflenet',
  'shufflenet-fixed',
  'keras-grouped',
  'windows',
  'tf2onnx-mobile',
  'mobilenetv2-clip-attributes',
  'densenet',
];

const files = new Map<string, Uint8Array>();
beforeAll(async () => {
  for (const name of names) files.set(name, new Uint8Array(await readFile(onnxFile(name))));
});

type Tally = { imported: number; refused: Map<string, number>; slowestMs: number; peakGrowth: number };

/** Imports a damaged copy for each seed and counts what came of it. */
async function importDamaged(count: number, damage: (bytes: Uint8Array, seed: number) => Uint8Array): Promise<Tally> {
  const folder = await testDirectory();
  const file = path.join(folder, 'model.onnx');
  await writeFile(path.join(folder, 'dynamo-resnet8.onnx.data'), await readFile(`${onnxFile('dynamo-resnet8')}.data`));
  const before = process.memoryUsage.rss();
  const tally: Tally = { imported: 0, refused: new Map(), slowestMs: 0, peakGrowth: 0 };
  for (let seed = 0; seed < count; seed++) {
    await writeFile(file, damage(files.get(names[seed % names.length]!)!, seed));
    const start = performance.now();
    const outcome = await importOnce(file, path.join(folder, 'out'), seed);
    tally.slowestMs = Math.max(tally.slowestMs, performance.now() - start);
    tally.peakGrowth = Math.max(tally.peakGrowth, process.memoryUsage.rss() - before);
    if (outcome === '') tally.imported += 1;
    else {
      const kind = outcome.replaceAll(/".*?"|[\d.,-]+|\(.*\)/g, '_').slice(0, 60);
      tally.refused.set(kind, (tally.refused.get(kind) ?? 0) + 1);
    }
  }
  return tally;
}

/** The sentence of a refusal, or nothing for a model. */
async function importOnce(file: string, out: string, seed: number): Promise<string> {
  try {
    const draft = await readOnnx(file, {});
    const model = draft.ok ? completeDraft(draft.value, {}) : draft;
    const patched = await patchOnnx(file, new Map([['fc.weight', new Float32Array(480)]]), path.join(out, 'not-there'));
    expect(patched.ok).toBe(false);
    if (model.ok) return '';
    expect(model.error).toMatch(/^.{10,4500}$/);
    return model.error.replaceAll(file, '');
  } catch (error) {
    throw new Error(`seed ${seed}: ${(error as Error).stack}`, { cause: error });
  }
}

/** Tells how it went, and holds it to the bounds. */
function expectBounded({ imported, refused, slowestMs, peakGrowth }: Tally, count: number): void {
  const total = [...refused.values()].reduce((sum, value) => sum + value, imported);
  expect(total).toBe(count);
  // Some damage changes nothing that matters; most must be seen.
  expect(imported).toBeLessThan(count * 0.6);
  expect(refused.size).toBeGreaterThan(10);
  expect(slowestMs).toBeLessThan(5000);
  expect(peakGrowth).toBeLessThan(300e6);
}

it('2,000 files with damaged bytes', async () => {
  expectBounded(await importDamaged(2000, mutate), 2000);
});

it('1,000 files that are well formed and say something else', async () => {
  expectBounded(await importDamaged(1000, mutateMessages), 1000);
});

type Message = Record<string, unknown>;

const NUMBERS = [
  0,
  -1,
  1,
  2,
  3,
  7,
  2 ** 16,
  2 ** 31 - 1,
  -(2 ** 31),
  2 ** 32,
  2 ** 40,
  2 ** 53,
  -(2 ** 62),
  0.5,
  NaN,
  Infinity,
];

/** One to three fields of the model's messages changed: numbers, texts, bytes, and entries of lists. */
function mutateMessages(bytes: Uint8Array, seed: number): Uint8Array {
  const random = randomSource(seed, 'test/mutate-messages');
  const type = messageType('ModelProto');
  const model = type.toObject(type.decode(bytes), { longs: Number }) as Message;
  for (let count = 1 + random.integer(3); count > 0; count--) {
    const places = fieldsOf(model);
    const [owner, key] = places[random.integer(places.length)]!;
    change(owner, key, places, random);
  }
  return type.encode(model).finish();
}

/** Every field and every entry of a list in a message, and in those below it. */
function fieldsOf(message: Message): [owner: Message, key: string][] {
  return Object.entries(message).flatMap(([key, item]): [Message, string][] => [
    [message, key],
    ...(typeof item === 'object' && item && !(item instanceof Uint8Array) ? fieldsOf(item as Message) : []),
  ]);
}

function change(owner: Message, key: string, places: readonly [Message, string][], random: RandomSource): void {
  const value = owner[key];
  const pick = <T>(items: readonly T[]): T => items[random.integer(items.length)]!;
  // Another value of the same kind from elsewhere in the model fits, and means something else.
  const sameKind = places.map(([other, name]) => other[name]).filter((other) => typeof other === typeof value);
  if (typeof value === 'number') owner[key] = random.integer(2) ? pick(NUMBERS) : pick(sameKind);
  else if (typeof value === 'string')
    owner[key] = random.integer(8) ? pick(sameKind) : 'x'.repeat(random.integer(5000));
  else if (value instanceof Uint8Array) owner[key] = mutate(value, random.integer(2 ** 31));
  else if (Array.isArray(value)) owner[key] = changedList(value as unknown[], random);
  else if (!Array.isArray(owner)) delete owner[key];
}

/** A list with entries dropped, repeated, or in another order. */
function changedList(list: readonly unknown[], random: RandomSource): unknown[] {
  const at = random.integer(list.length + 1);
  switch (random.integer(5)) {
    case 0:
      return list.toSpliced(at, 1 + random.integer(3));
    case 1:
      return list.toSpliced(at, 0, ...list.slice(0, 1 + random.integer(list.length || 1)));
    case 2:
      return list.flatMap((item, index) => (index === at ? Array.from({ length: 300 }, () => item) : [item]));
    case 3:
      return list.toReversed();
    default:
      return [];
  }
}
