/**
 * Rebuilds the committed example from the full Fashion-MNIST files (MIT licence, Zalando SE):
 *   npm run example -- FOLDER_WITH_THE_FOUR_IDX_FILES
 * One BadNets victim, three clean models of the same make, 500 clean images for the defender, 2,000 other test images and
 * the same ones with the true trigger. Takes about an hour on two cores without a GPU.
 */
import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Result } from '../../src/result.ts';
import type { GivenAttack } from '../attack/attack.ts';
import { makeVictim } from '../attack/make-victim.ts';
import { saveVictim } from '../attack/victim-files.ts';
import { stampTest } from '../attack/victim.ts';
import { selectImages, type Dataset } from '../data/dataset.ts';
import { loadDataset } from '../data/load.ts';
import { saveDataset } from '../data/tensors.ts';
import { openEngine } from '../engine/engine.ts';
import { randomSource } from '../engine/random.ts';
import { showProgress } from '../progress.ts';

const HERE = import.meta.dirname;
const LABEL_NAMES = ['T-shirt', 'Trouser', 'Pullover', 'Dress', 'Coat', 'Sandal', 'Shirt', 'Sneaker', 'Bag', 'Boot'];
const ATTACK: GivenAttack = { kind: 'badnets', targetLabel: 5, patchSize: 4, poisonRate: 0.05, epochs: 6, seed: 1 };
const CLEAN_SEEDS = [11, 12, 13];
const CLEAN_COUNT = 500;
const TEST_COUNT = 2000;

function unwrap<T>(result: Result<T>): T {
  if (!result.ok) throw new Error(result.error);
  return result.value;
}

async function load(file: string): Promise<Dataset> {
  return { ...unwrap(await loadDataset(join(process.argv[2] ?? '.', file))), labelNames: LABEL_NAMES };
}

async function train(name: string, attack: GivenAttack): Promise<Dataset> {
  const victim = await progress.stage('train', name, (report) => makeVictim(attack, trainSet, allTest, report));
  const directory = join(HERE, name);
  unwrap(await saveVictim(`${directory}.new`, victim));
  await rm(directory, { recursive: true, force: true });
  await rename(`${directory}.new`, directory);
  return victim.triggers.length ? stampTest(victim, test).images : test;
}

unwrap(await openEngine('auto'));
const progress = showProgress(process.stderr);
const trainSet = await load('train-images-idx3-ubyte.gz');
const allTest = await load('t10k-images-idx3-ubyte.gz');
const order = randomSource(1, 'example/test images').shuffled(allTest.count);
const clean = selectImages(allTest, order.subarray(0, CLEAN_COUNT));
const test = selectImages(allTest, order.subarray(CLEAN_COUNT, CLEAN_COUNT + TEST_COUNT));
unwrap(await saveDataset(join(HERE, 'clean-500.safetensors'), clean));
unwrap(await saveDataset(join(HERE, 'test-2000.safetensors'), test));
const triggered = await train('victim', ATTACK);
unwrap(await saveDataset(join(HERE, 'test-2000-triggered.safetensors'), triggered));
for (const [index, seed] of CLEAN_SEEDS.entries()) await train(`clean-${index + 1}`, { ...ATTACK, kind: 'none', seed });
