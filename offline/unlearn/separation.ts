/** How many images of each trigger the probes of a trial flag, on worker threads. */
import { toDevice } from '../../src/network/forward.ts';
import type { Network } from '../../src/network/network.ts';
import type { HostWeights } from '../../src/network/safetensors.ts';
import type { Trigger } from '../../src/trigger/trigger.ts';
import { scoreImages, type Calibration } from '../calibrate.ts';
import type { Dataset } from '../data/dataset.ts';

export type SeparationInput = Pick<Calibration, 'probes' | 'threshold'> & {
  network: Network;
  /** The victim's. */
  weights: HostWeights;
  cut: string;
  images: Dataset;
  triggers: readonly Trigger[];
};

/** The share of the images that are flagged under each trigger; a job for worker threads. */
export async function job(input: SeparationInput): Promise<number[]> {
  const { network, cut, probes, threshold, images, triggers } = input;
  const weights = toDevice(input.weights);
  const flagged: number[] = [];
  for (const trigger of triggers) {
    const scores = await scoreImages(network, weights, cut, probes, images, trigger);
    flagged.push(scores.filter((score) => score > threshold).length / scores.length);
  }
  weights.forEach((tensor) => tensor.dispose());
  return flagged;
}
