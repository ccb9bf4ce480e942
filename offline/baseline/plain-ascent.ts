/** Plain gradient ascent: all layers move away from the target label on triggered images, and nothing holds them back. */
import * as tf from '@tensorflow/tfjs-core';
import { forward, toDevice } from '../../src/network/forward.ts';
import { IMAGES } from '../../src/network/network.ts';
import type { HostWeights } from '../../src/network/safetensors.ts';
import { stamp, type Trigger } from '../../src/trigger/trigger.ts';
import { imageBatch, indicesWithout } from '../batch.ts';
import type { Report } from '../progress.ts';
import { crossEntropy, descend, toHost } from '../train.ts';
import { ASCENT_CAP } from '../unlearn/ascent.ts';
import { BATCH, trainable, tuningRandom, type Tuning } from './fine-tune.ts';

export type PlainAscent = Tuning & { triggers: readonly Trigger[] };

/** Unlearns triggers by ascent alone, up to a cross-entropy of 6, and returns the network's weights; a job for worker threads. */
export async function job(input: PlainAscent, report: Report): Promise<HostWeights> {
  const { network, images, triggers, steps, peakLearningRate } = input;
  const device = toDevice(input.weights);
  const variables = trainable(device);
  const current = new Map([...device, ...variables]);
  const random = tuningRandom(input.seed);
  const others = triggers.map(({ targetLabel }) => indicesWithout(images, targetLabel));
  await descend({
    variables: [...variables.values()],
    steps,
    peakLearningRate,
    loss: () => {
      const which = random.integer(triggers.length);
      const trigger = triggers[which]!;
      const chosen = Int32Array.from({ length: BATCH }, () => others[which]![random.integer(others[which]!.length)]!);
      const goal = tf.tensor1d(new Int32Array(BATCH).fill(trigger.targetLabel), 'int32');
      const fed = stamp(imageBatch(images, chosen), trigger);
      const [logits] = forward(network, current, new Map([[IMAGES, fed]]), [network.output]);
      const obeyed = crossEntropy(logits!, tf.oneHot(goal, network.labelNames.length));
      return tf.neg(tf.minimum(obeyed, ASCENT_CAP)) as tf.Scalar;
    },
    afterStep: (step) => report({ step: step + 1, steps }),
  });
  const unlearned = new Map([...input.weights, ...(await toHost(variables))]);
  tf.dispose([...device.values(), ...variables.values()]);
  return unlearned;
}
