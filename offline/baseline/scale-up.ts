/**
 * SCALE-UP, data-free (Guo et al., ICLR 2023, arXiv 2302.03251): pixel values are multiplied and clipped; a trigger keeps its answer,
 * a clean image loses it. The score is the share of the multiplied copies that get the same label as the input.
 */
import { argMax, cast, clipByValue, concat, equal, mean, mul, reshape, split, tidy } from '@tensorflow/tfjs-core';
import { forward, toDevice } from '../../src/network/forward.ts';
import { IMAGES } from '../../src/network/network.ts';
import { everyIndex, imageBatch } from '../batch.ts';
import type { DetectorInput, Fitted } from './detector.ts';

/** The paper's factors. */
export const SCALES = [3, 5, 7, 9, 11];
const INPUTS_A_BATCH = 32;

/** Fits nothing. */
export async function scaleUp({ model: { network, weights } }: DetectorInput): Promise<Fitted> {
  return {
    score: async (images) => {
      const device = toDevice(weights);
      const scores = new Float32Array(images.count);
      for (let start = 0; start < images.count; start += INPUTS_A_BATCH) {
        const values = tidy(() => {
          const inputs = imageBatch(images, everyIndex(images.count).subarray(start, start + INPUTS_A_BATCH));
          const count = inputs.shape[0];
          const copies = concat([inputs, ...SCALES.map((scale) => clipByValue(mul(inputs, scale), 0, 1))]);
          const [logits] = forward(network, device, new Map([[IMAGES, copies]]), [network.output]);
          const labels = reshape(argMax(logits!, 1), [1 + SCALES.length, count]);
          const [own, scaled] = split(labels, [1, SCALES.length]);
          return mean(cast(equal(own!, scaled!), 'float32'), 0);
        });
        scores.set(await values.data(), start);
        values.dispose();
      }
      device.forEach((tensor) => tensor.dispose());
      return scores;
    },
  };
}
