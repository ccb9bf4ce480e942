/** What a frozen trunk makes of clean images and of their triggered copies, seen once and drawn from many times. */
import { clone, dispose, softmax, tensor, tensor2d, tidy, type Tensor, type Tensor2D } from '@tensorflow/tfjs-core';
import { forward, type Weights } from '../../src/network/forward.ts';
import { IMAGES, type Network } from '../../src/network/network.ts';
import { stamp, type Trigger } from '../../src/trigger/trigger.ts';
import type { Dataset } from '../data/dataset.ts';
import type { RandomSource } from '../engine/random.ts';
import { toRows, type Rows } from './rows.ts';
import { drawViews, type Views } from './views.ts';

/** Random views of clean images, and their triggered copies. */
export type SampleSource = { network: Network; cut: string; images: Dataset; triggers: readonly Trigger[] };

/**
 * Activations [B,...] at the cut of views and of their triggered copies, the victim's answers [B,K] to the views, and
 * `unearned` [B,K]: 1 at the label that the trigger asks for, unless an image in the view has it; else 0.
 */
export type SampleBatch = { clean: Tensor; triggered: Tensor; answers: Tensor2D; unearned: Tensor2D };

export type Samples = { count: number; batch: (chosen: Int32Array) => SampleBatch };

/** Images that go through the trunk together; they share a trigger and how they are viewed, so there are few of them. */
const GROUP = 16;
/** Enough for a few hundred steps; a large cut gets as many as its memory allows. */
const MOST_GROUPS = 256;
const MOST_BYTES = 256 << 20;

/** Sends images through the victim up to the cut, a group at a time; `seen` hears the share that is done. */
export async function seeSamples(
  { network, cut, images, triggers }: SampleSource,
  victim: Weights,
  random: RandomSource,
  seen: (share: number) => void,
): Promise<Samples> {
  const groups: Group[] = [];
  let wanted = MOST_GROUPS;
  while (groups.length < wanted) {
    const tensors = tidy(() => {
      const { images: clean, labels } = drawViews(images, GROUP, random);
      const trigger = triggers[random.integer(triggers.length)]!;
      const triggered = stamp(clean, trigger);
      const [ofClean, logits] = forward(network, victim, new Map([[IMAGES, clean]]), [cut, network.output]);
      const [ofTriggered] = forward(network, victim, new Map([[IMAGES, triggered]]), [cut]);
      const unearned = unearnedBy(trigger, labels, network.labelNames.length);
      return [clone(ofClean!), clone(ofTriggered!), softmax(logits as Tensor2D), unearned] as const;
    });
    const [clean, triggered, answers, unearned] = await Promise.all(tensors.map(toRows));
    dispose([...tensors]);
    groups.push({ clean: clean!, triggered: triggered!, answers: answers!, unearned: unearned! });
    wanted = Math.min(MOST_GROUPS, Math.max(1, Math.floor(MOST_BYTES / (2 * clean!.data.byteLength))));
    seen(groups.length / wanted);
  }
  const draw = (part: keyof Group, chosen: Int32Array): Tensor => {
    const { size, shape } = groups[0]![part];
    const values = new Float32Array(chosen.length * size);
    chosen.forEach((sample, row) => {
      const start = (sample % GROUP) * size;
      values.set(groups[Math.floor(sample / GROUP)]![part].data.subarray(start, start + size), row * size);
    });
    return tensor(values, [chosen.length, ...shape]);
  };
  return {
    count: groups.length * GROUP,
    batch: (chosen) => ({
      clean: draw('clean', chosen),
      triggered: draw('triggered', chosen),
      answers: draw('answers', chosen) as Tensor2D,
      unearned: draw('unearned', chosen) as Tensor2D,
    }),
  };
}

type Group = Record<keyof SampleBatch, Rows>;

function unearnedBy({ targetLabel }: Trigger, labels: Views['labels'], labelCount: number): Tensor2D {
  const values = new Float32Array(labels.length * labelCount);
  labels.forEach((seen, row) => (values[row * labelCount + targetLabel] = Number(!seen.includes(targetLabel))));
  return tensor2d(values, [labels.length, labelCount]);
}
