/**
 * Neural attention distillation (Li et al., "Neural Attention Distillation", ICLR 2021, arXiv 2101.05930): the victim learns the attention maps
 * of a copy that was fine-tuned on clean images: CE + sum_l beta_l * mean squared difference of A(student) and A(teacher), with
 * A(F) = sum over the channels of F^2, divided by its Euclidean norm.
 */
import * as tf from '@tensorflow/tfjs-core';
import { forward, toDevice } from '../../src/network/forward.ts';
import { cutCandidates } from '../../src/network/cuts.ts';
import { IMAGES, nodeShapes, type Network } from '../../src/network/network.ts';
import type { HostWeights } from '../../src/network/safetensors.ts';
import type { Report } from '../progress.ts';
import { crossEntropy, descend, toHost } from '../train.ts';
import { drawBatch, trainable, tuningRandom, type Tuning } from './fine-tune.ts';

export type Distillation = Tuning & { teacher: HostWeights };

/** The published weights of the last three stages, the earliest first. */
const BETAS = [500, 1000, 1000];
const TINY = 1e-6;

/** Trains the victim under its teacher's attention and returns the network's weights; a job for worker threads. Reports `{ step, steps }`. */
export async function job(input: Distillation, report: Report): Promise<HostWeights> {
  const { network, images, steps, peakLearningRate } = input;
  const [device, teacher] = [toDevice(input.weights), toDevice(input.teacher)];
  const variables = trainable(device);
  const current = new Map([...device, ...variables]);
  const random = tuningRandom(input.seed);
  const nodes = attentionNodes(network);
  const betas = BETAS.slice(BETAS.length - nodes.length);
  await descend({
    variables: [...variables.values()],
    steps,
    peakLearningRate,
    loss: () => {
      const batch = drawBatch(images, network, random);
      const feeds = new Map([[IMAGES, batch.images]]);
      const taught = forward(network, teacher, feeds, nodes).map(attentionMap);
      const [logits, ...activations] = forward(network, current, feeds, [network.output, ...nodes]);
      const distances = activations.map((activation, index) =>
        tf.mul(betas[index]!, tf.mean(tf.squaredDifference(attentionMap(activation), taught[index]!))),
      );
      return tf.addN([crossEntropy(logits!, batch.targets), ...distances]) as tf.Scalar;
    },
    afterStep: (step) => report({ step: step + 1, steps }),
  });
  const student = new Map([...input.weights, ...(await toHost(variables))]);
  tf.dispose([...device.values(), ...teacher.values(), ...variables.values()]);
  return student;
}

/** Attention maps [B,H*W] of activations [B,H,W,C]. */
export function attentionMap(activations: tf.Tensor): tf.Tensor2D {
  const [count] = activations.shape;
  const energy = tf.reshape(tf.sum(tf.square(activations), 3), [count!, -1]) as tf.Tensor2D;
  return tf.div(energy, tf.add(tf.norm(energy, 2, 1, true), TINY));
}

/** The last cut of each of the last three resolutions, in order from the input. */
export function attentionNodes(network: Network): string[] {
  const shapes = nodeShapes(network);
  if (!shapes.ok) throw new Error(shapes.error);
  const spatial = cutCandidates(network).filter((name) => shapes.value.get(name)!.length === 3);
  const byResolution = Map.groupBy(spatial, (name) => shapes.value.get(name)!.slice(0, 2).join());
  return [...byResolution.values()].map((names) => names.at(-1)!).slice(-BETAS.length);
}
