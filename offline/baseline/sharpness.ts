/**
 * FT-SAM (Zhu et al., "Enhancing Fine-Tuning Based Backdoor Defense with Sharpness-Aware Minimization", ICCV 2023, arXiv 2304.11823):
 * fine-tuning by the gradient at the worst weights near the present ones, e = rho * w^2 g / |(|w| g)|, where w and g are all weights
 * and their gradients as one vector (the adaptive form: Kwon et al., arXiv 2102.11600, without its constant).
 */
import * as tf from '@tensorflow/tfjs-core';
import { forward, toDevice } from '../../src/network/forward.ts';
import { IMAGES } from '../../src/network/network.ts';
import type { HostWeights } from '../../src/network/safetensors.ts';
import type { Report } from '../progress.ts';
import { crossEntropy, descend, toHost } from '../train.ts';
import { drawBatch, trainable, tuningRandom, type Tuning } from './fine-tune.ts';

export type SharpnessAware = Tuning & { rho: number };

const TINY = 1e-12;

/** Fine-tunes all layers towards flat minima and returns the network's weights; a job for worker threads. Reports `{ step, steps }`. */
export async function job(input: SharpnessAware, report: Report): Promise<HostWeights> {
  const { network, images, steps, peakLearningRate, rho } = input;
  const device = toDevice(input.weights);
  const variables = trainable(device);
  const current = new Map([...device, ...variables]);
  const values = [...variables.values()];
  const random = tuningRandom(input.seed);
  await descend({
    variables: values,
    steps,
    peakLearningRate,
    loss: () => {
      const batch = drawBatch(images, network, random);
      const loss = (): tf.Scalar => {
        const [logits] = forward(network, current, new Map([[IMAGES, batch.images]]), [network.output]);
        return crossEntropy(logits!, batch.targets);
      };
      const start = values.map((value) => value.clone());
      const { grads } = tf.variableGrads(loss, values);
      const gradients = values.map(({ name }) => grads[name]!);
      const pushed = perturbation(start, gradients, rho);
      values.forEach((value, index) => value.assign(tf.add(start[index]!, pushed[index]!)));
      const worst = loss();
      // The gradient is still taken at the pushed weights, which the tape has kept; the step is made from where it began.
      values.forEach((value, index) => value.assign(start[index]!));
      return worst;
    },
    afterStep: (step) => report({ step: step + 1, steps }),
  });
  const tuned = new Map([...input.weights, ...(await toHost(variables))]);
  tf.dispose([...device.values(), ...values]);
  return tuned;
}

/** The adaptive perturbation of weights, tensor by tensor: divided by the weights' sizes it has the Euclidean norm rho. */
export function perturbation(weights: readonly tf.Tensor[], gradients: readonly tf.Tensor[], rho: number): tf.Tensor[] {
  const scaled = weights.map((weight, index) => tf.mul(tf.abs(weight), gradients[index]!));
  const norm = tf.sqrt(tf.addN(scaled.map((part) => tf.sum(tf.square(part)))));
  const scale = tf.div(rho, tf.add(norm, TINY));
  return weights.map((weight, index) => tf.mul(scale, tf.mul(tf.abs(weight), scaled[index]!)));
}
