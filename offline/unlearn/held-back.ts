/**
 * Held-back images as the frozen trunk sees them, clean and under recovered triggers: what a head costs and what it denies is asked of many heads, and only the
 * layers behind the cut differ.
 */
import { dispose, tensor, tidy, type Tensor2D } from '@tensorflow/tfjs-core';
import { headWeights } from '../../src/network/cuts.ts';
import { forward, toDevice, type Weights } from '../../src/network/forward.ts';
import type { Network } from '../../src/network/network.ts';
import type { HostWeights } from '../../src/network/safetensors.ts';
import type { Trigger } from '../../src/trigger/trigger.ts';
import { everyIndex, indicesWithout, spread } from '../batch.ts';
import { selectImages, type Dataset } from '../data/dataset.ts';
import { mean } from '../mean.ts';
import { activationsOf } from '../predict.ts';
import { toRows, type Rows } from './rows.ts';

/** Enough to know a mean probability, and few enough to cost seconds on a large network. */
const IMAGES_STAMPED = 64;
const TRIGGERS_TRIED = 16;
/** How many rows of activations go through a head together. */
const BATCH = 128;

/** Logits, a row an image. */
export type Logits = readonly (readonly number[])[];

/** What is known of held-back images: their true labels, what the victim answers, and what its trunk makes of them and of copies of some under each of some triggers. */
export type HeldBack = {
  network: Network;
  cut: string;
  labels: Int32Array;
  usual: Logits;
  clean: Rows;
  stamped: readonly { targetLabel: number; rows: Rows }[];
};

/** Sends held-back images through the victim's trunk; those that are stamped are of other labels than the trigger asks for. */
export async function seeHeldBack(
  { network, images, triggers }: { network: Network; images: Dataset; triggers: readonly Trigger[] },
  victim: HostWeights,
  cut: string,
): Promise<HeldBack> {
  const weights = toDevice(victim);
  const see = async (of: Dataset, indices: Int32Array, trigger?: Trigger): Promise<Rows> => {
    const activations = activationsOf(network, weights, cut, of, indices, trigger);
    const rows = await toRows(activations);
    activations.dispose();
    return rows;
  };
  const few = selectImages(images, spread(images.count, IMAGES_STAMPED));
  const stamped: { targetLabel: number; rows: Rows }[] = [];
  for (const [targetLabel, own] of Map.groupBy(triggers, (trigger) => trigger.targetLabel)) {
    const others = indicesWithout(few, targetLabel);
    if (!others.length) continue;
    for (const index of spread(own.length, TRIGGERS_TRIED)) {
      stamped.push({ targetLabel, rows: await see(few, others, own[index]!) });
    }
  }
  const clean = await see(images, everyIndex(images.count));
  dispose([...weights.values()]);
  const usual = await answersToClean({ network, cut, clean }, victim);
  return { network, cut, labels: images.labels, usual, clean, stamped };
}

/** What a network whose trunk is the victim's answers to held-back images. */
export async function answersToClean(
  { network, cut, clean }: Pick<HeldBack, 'network' | 'cut' | 'clean'>,
  weights: HostWeights,
): Promise<Logits> {
  const [answers] = await answersTo(network, cut, weights, [clean]);
  return answers!;
}

/** What it answers to the copies under each trigger. */
export async function answersToStamped(
  { network, cut, stamped }: HeldBack,
  weights: HostWeights,
): Promise<{ targetLabel: number; logits: Logits }[]> {
  const rows = stamped.map(({ rows }) => rows);
  const answers = await answersTo(network, cut, weights, rows);
  return stamped.map(({ targetLabel }, index) => ({ targetLabel, logits: answers[index]! }));
}

async function answersTo(network: Network, cut: string, weights: HostWeights, asked: Rows[]): Promise<Logits[]> {
  const head = toDevice(headWeights(network, weights, cut));
  const answers: Logits[] = [];
  for (const rows of asked) answers.push(await logitsOfRows(network, cut, head, rows));
  dispose([...head.values()]);
  return answers;
}

async function logitsOfRows(
  network: Network,
  cut: string,
  head: Weights,
  { data, size, shape }: Rows,
): Promise<Logits> {
  const count = data.length / size;
  const answers: number[][] = [];
  for (let start = 0; start < count; start += BATCH) {
    const end = Math.min(count, start + BATCH);
    const logits = tidy(() => {
      const activations = tensor(data.subarray(start * size, end * size), [end - start, ...shape]);
      return forward(network, head, new Map([[cut, activations]]), [network.output])[0] as Tensor2D;
    });
    answers.push(...(await logits.array()));
    logits.dispose();
  }
  return answers;
}

/** The mean probability of a label whose logit is moved. */
export function likelihood(logits: Logits, label: number, shift = 0): number {
  const probabilities = logits.map((row) => {
    const own = row[label]! + shift;
    const others = row.reduce((sum, logit, index) => sum + (index === label ? 0 : Math.exp(logit - own)), 0);
    return 1 / (1 + others);
  });
  return mean(probabilities);
}

/** The mean probability of the true label of each image. */
export const confidenceOf = (logits: Logits, labels: ArrayLike<number>): number =>
  mean(logits.map((row, image) => likelihood([row], labels[image]!)));
