/** Whether a model file sees images as it was trained to: if its answers are no better than guesses, other input settings are tried. */
import { dispose } from '@tensorflow/tfjs-core';
import { toDevice, type Weights } from '../src/network/forward.ts';
import type { Input } from '../src/network/input.ts';
import type { Network } from '../src/network/network.ts';
import { clopperPearsonUpper, perLabelRecall } from '../src/metrics.ts';
import { failure, success, type Result } from '../src/result.ts';
import type { Dataset } from './data/dataset.ts';
import { randomSource } from './engine/random.ts';
import { completeDraft } from './import/imported.ts';
import type { Imported, OpenedModel } from './import/open.ts';
import { predict } from './predict.ts';
import { percent } from './report/text.ts';

const SAMPLE = 200;
/** For trying other settings although the present ones work. */
const GUESS_SAMPLE = 64;
const BETTER_BY_FAR = 0.08;
const CONFIDENCE = 0.99;

type Setting = Pick<Input, 'scale' | 'mean' | 'std' | 'channels'>;
const NAMES = ['scale', 'mean', 'std', 'channels'] as const;

/** What models are commonly trained with: `(scale * images - mean) / std`. */
const COMMON: Omit<Setting, 'channels'>[] = [
  { scale: 1, mean: [0], std: [1] },
  { scale: 255, mean: [0], std: [1] },
  { scale: 1, mean: [0.5], std: [0.5] },
  // ImageNet; the same in 0..255 without a deviation, as of Caffe; CIFAR-10; MNIST.
  { scale: 1, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
  { scale: 255, mean: [123.68, 116.779, 103.939], std: [1] },
  { scale: 1, mean: [0.4914, 0.4822, 0.4465], std: [0.247, 0.2435, 0.2616] },
  { scale: 1, mean: [0.1307], std: [0.3081] },
];

/**
 * Fails when the model answers clean images about as guessing would, and says which setting of its input looks wrong and what it would
 * give with the best one. Where it does better but a setting was guessed, the value is a remark if another one were better by far, else
 * null. Looks at 200 images at most, on the engine that is open. Models that state their input themselves pass.
 *
 * About as guessing, for c = one of the number of labels: an accuracy of at most 2 c, or of at most c and a tenth of the rest, or one
 * that a one-sided binomial test at the level of 1 % does not tell from c. Accuracy is the mean over the labels, so that answering the
 * most frequent one is a guess, too.
 */
export async function checkInput(model: OpenedModel, images: Dataset): Promise<Result<string | null>> {
  const { imported, source, path } = model;
  if (!imported || !source.input) return success(null);
  const sample = sampleOf(images, SAMPLE);
  const chance = 1 / Math.max(2, new Set(sample.map((index) => images.labels[index]!)).size);
  const weights = toDevice(model.weights);
  try {
    const accuracy = await accuracyOn(model.network, weights, images, sample);
    const trial = { imported, input: source.input, weights, images };
    if (!isNearChance(accuracy, sample.length, chance)) {
      return success(isGuessed(imported) ? await remark(path, model.network, trial) : null);
    }
    const best = await bestSetting(trial, sample);
    const now = `${path}: ${percent(accuracy)} of the clean images are right, about as by guessing (${percent(chance)})`;
    if (best.accuracy > accuracy && !isNearChance(best.accuracy, sample.length, chance)) {
      return failure(`${now}; with ${best.flags} it would be ${percent(best.accuracy)}`);
    }
    return failure(
      `${now}, and no common scale, mean, std or order of channels does better: give --scale, --mean, --std and ` +
        '--channels as it was trained with, and clean images whose labels are numbered as its own',
    );
  } finally {
    dispose([...weights.values()]);
  }
}

type Trial = { imported: Imported; input: Input; weights: Weights; images: Dataset };

/** The most accurate of the common settings and the flags that lead to it; the first of equals, which changes the least. */
async function bestSetting({ imported, input, weights, images }: Trial, sample: Int32Array) {
  let best = { accuracy: 0, flags: '' };
  for (const setting of otherSettings(input)) {
    const tried = completeDraft(imported.draft, { ...imported.given, ...setting });
    if (!tried.ok) continue;
    const accuracy = await accuracyOn(tried.value.network, weights, images, sample);
    if (accuracy > best.accuracy) best = { accuracy, flags: changes(input, tried.value.input).join(' ') };
  }
  return best;
}

const isGuessed = ({ draft, given }: Imported): boolean =>
  NAMES.some((name) => given[name] === undefined && draft.input[name] === undefined);

async function remark(path: string, network: Network, trial: Trial): Promise<string | null> {
  const { images, weights } = trial;
  const sample = sampleOf(images, GUESS_SAMPLE);
  const accuracy = await accuracyOn(network, weights, images, sample);
  const best = await bestSetting(trial, sample);
  if (best.accuracy < accuracy + BETTER_BY_FAR) return null;
  const [now, then] = [percent(accuracy), percent(best.accuracy)];
  return `${path}: is its input as it was trained with? Of ${sample.length} clean images ${now} are right, with ${best.flags} ${then}`;
}

/** Whether an accuracy on `count` images could come from guessing, which is right with probability `chance`. */
export function isNearChance(accuracy: number, count: number, chance: number): boolean {
  const hits = Math.round(accuracy * count);
  const surely = 1 - clopperPearsonUpper(count - hits, count, CONFIDENCE);
  return surely <= chance || accuracy <= Math.min(2 * chance, chance + (1 - chance) / 10);
}

/** The common settings, those that change less first; `rgb` and `bgr` for images of three channels. */
function otherSettings(now: Input): Setting[] {
  const channelCount = now.mean.length;
  const orders = channelCount === 3 ? (['rgb', 'bgr'] as const) : [now.channels];
  const fitting = COMMON.filter(({ mean, std }) =>
    [mean, std].every(({ length }) => length === 1 || length === channelCount),
  );
  return orders
    .flatMap((channels) => fitting.map((setting) => ({ ...setting, channels })))
    .toSorted((a, b) => changes(now, a).length - changes(now, b).length);
}

/** The flags that lead from one setting to another. */
function changes(from: Setting, to: Setting): string[] {
  const valuesOf = (setting: Setting, name: (typeof NAMES)[number]): readonly (string | number)[] => {
    const values = [setting[name]].flat();
    return values.every((value) => value === values[0]) ? values.slice(0, 1) : values;
  };
  return NAMES.flatMap((name) => {
    const value = valuesOf(to, name).join();
    return value === valuesOf(from, name).join() ? [] : [`--${name} ${value}`];
  });
}

async function accuracyOn(network: Network, weights: Weights, images: Dataset, sample: Int32Array): Promise<number> {
  const answers = await predict(network, weights, images, sample);
  const labels = sample.map((index) => images.labels[index]!);
  const recalls = perLabelRecall(answers, labels, network.labelNames.length).filter((recall) => recall !== null);
  return recalls.reduce((sum, { rate }) => sum + rate, 0) / recalls.length;
}

/** Some images, not in order: files often hold them sorted by label. */
function sampleOf({ count }: Dataset, most: number): Int32Array {
  const keys = randomSource(0, 'input-check').uniform(count);
  const order = Int32Array.from(keys.keys()).toSorted((a, b) => keys[a]! - keys[b]!);
  return order.slice(0, most).toSorted();
}
