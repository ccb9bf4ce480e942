/** The data sets of the bench, from folders that the user names, and what each cell draws from them. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { failure, success, type Result } from '../../../src/result.ts';
import { selectImages, withLabelNames, type Dataset } from '../../data/dataset.ts';
import { loadDataset } from '../../data/load.ts';
import { randomSource } from '../../engine/random.ts';
import type { Cell, DataName } from './grid.ts';

/** Images to train victims on, and others. */
export type BenchData = { train: Dataset; test: Dataset };
export type Folders = Partial<Record<DataName, string>>;

const EXAMPLE = join(import.meta.dirname, '..', '..', 'example', 'test-2000.safetensors');
const EXAMPLE_TRAIN = 1200;
const TEST_FILES = { cifar10: 'test_batch.bin', cifar100: 'test.bin' };

/** Loads a data set; the folder of MNIST and Fashion-MNIST holds their four IDX files, that of CIFAR its .bin files. */
export async function loadBenchData(name: DataName, folders: Folders): Promise<Result<BenchData>> {
  if (name === 'example') return loadExampleImages();
  const folder = folders[name];
  if (folder === undefined) return failure(`--${name}: expected the folder of this data set, which the grid needs`);
  const files = await filesOf(name, folder);
  if (!files.ok) return files;
  const train = await loadDataset(files.value.train);
  if (!train.ok) return failure(`--${name}: ${train.error}`);
  const test = await loadDataset(files.value.test);
  if (!test.ok) return failure(`--${name}: ${test.error}`);
  return success({ train: withLabelNames(train.value), test: withLabelNames(test.value) });
}

async function loadExampleImages(): Promise<Result<BenchData>> {
  const loaded = await loadDataset(EXAMPLE);
  if (!loaded.ok) return loaded;
  const images = withLabelNames(loaded.value);
  const order = randomSource(1, 'bench/example').shuffled(images.count);
  const [train, test] = [order.subarray(0, EXAMPLE_TRAIN), order.subarray(EXAMPLE_TRAIN)];
  return success({ train: selectImages(images, train), test: selectImages(images, test) });
}

async function filesOf(
  name: Exclude<DataName, 'example'>,
  folder: string,
): Promise<Result<{ train: string; test: string }>> {
  if (name === 'cifar10' || name === 'cifar100')
    return success({ train: folder, test: join(folder, TEST_FILES[name]) });
  const names = await readdir(folder).catch((): string[] => []);
  const [train, test] = ['train', 't10k'].map((part) =>
    names.find((file) => file.startsWith(part) && /images[-.]idx3-ubyte(\.gz)?$/.test(file)),
  );
  if (train === undefined || test === undefined) {
    return failure(`--${name} ${folder}: expected train-images-idx3-ubyte and t10k-images-idx3-ubyte in it`);
  }
  return success({ train: join(folder, train), test: join(folder, test) });
}

/** Images to train a victim on, the defender's, and those to measure on. */
export type Drawn = { train: Dataset; clean: Dataset; evaluation: Dataset };

/** What one cell uses: images to train on, the defender's, and those to measure on, all disjoint; fails where there are too few. */
export function drawImages(
  { train, test }: BenchData,
  { data, seed, trainCount, cleanCount, evaluationCount }: Cell,
): Result<Drawn> {
  if (cleanCount + evaluationCount > test.count || (trainCount ?? 0) > train.count) {
    const got = `${train.count} and ${test.count}`;
    return failure(
      `${data}: expected ${trainCount ?? 1} images and ${cleanCount + evaluationCount} others, got ${got}`,
    );
  }
  const order = randomSource(seed, 'bench/test images').shuffled(test.count);
  const chosen = randomSource(seed, 'bench/training images').shuffled(train.count);
  return success({
    train: trainCount === null ? train : selectImages(train, chosen.subarray(0, trainCount)),
    clean: selectImages(test, order.subarray(0, cleanCount)),
    evaluation: selectImages(test, order.subarray(test.count - evaluationCount)),
  });
}
