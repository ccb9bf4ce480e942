/**
 * STRIP (Gao et al., ACSAC 2019, arXiv 1902.06531): superimpose clean images on an input; if the answers hardly vary, something in it
 * decides them all. The score is the negative mean entropy of the answers in bits.
 */
import { addPattern } from '../../src/trigger/trigger.ts';
import {
  tidy,
  mean,
  mul,
  neg,
  softmax,
  sum,
  log,
  add,
  reshape,
  expandDims,
  type Tensor2D,
  type Tensor4D,
} from '@tensorflow/tfjs-core';
import { forward, toDevice } from '../../src/network/forward.ts';
import { IMAGES } from '../../src/network/network.ts';
import { everyIndex, imageBatch } from '../batch.ts';
import { randomSource } from '../engine/random.ts';
import type { DetectorInput, Fitted } from './detector.ts';

/** Clean images that are superimposed on one input. */
export const STRIP_COPIES = 32;
const INPUTS_A_BATCH = 8;
const TINY = 1e-12;

/** Fits nothing: each input is superimposed with random clean images. */
export async function strip({ model: { network, weights }, clean, seed }: DetectorInput): Promise<Fitted> {
  return {
    score: async (images) => {
      const device = toDevice(weights);
      const random = randomSource(seed, 'baseline/strip');
      const scores = new Float32Array(images.count);
      for (let start = 0; start < images.count; start += INPUTS_A_BATCH) {
        const values = tidy(() => {
          const inputs = imageBatch(images, everyIndex(images.count).subarray(start, start + INPUTS_A_BATCH));
          const count = inputs.shape[0];
          const chosen = Array.from({ length: count * STRIP_COPIES }, () => random.integer(clean.count));
          const others = imageBatch(clean, chosen);
          const [, height, width, channels] = inputs.shape;
          const grouped = reshape(others, [count, STRIP_COPIES, height, width, channels]);
          const mixed = reshape(addPattern(grouped, expandDims(inputs, 1)), others.shape) as Tensor4D;
          const [logits] = forward(network, device, new Map([[IMAGES, mixed]]), [network.output]);
          const shares = softmax(logits as Tensor2D);
          const entropies = neg(sum(mul(shares, log(add(shares, TINY))), 1));
          return mul(mean(reshape(entropies, [count, STRIP_COPIES]), 1), -Math.LOG2E);
        });
        scores.set(await values.data(), start);
        values.dispose();
      }
      device.forEach((tensor) => tensor.dispose());
      return scores;
    },
  };
}
