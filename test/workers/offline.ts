/** What a release must answer, computed in Node on tfjs's cpu backend. */
import '@tensorflow/tfjs-backend-cpu';
import {
  concat,
  setBackend,
  softmax,
  tensor1d,
  tensor2d,
  tensor4d,
  tidy,
  type Tensor,
  type Tensor2D,
} from '@tensorflow/tfjs-core';
import { guardNodes } from '../../src/network/cuts.ts';
import { forward, toDevice } from '../../src/network/forward.ts';
import { IMAGES } from '../../src/network/network.ts';
import type { ReleaseContent } from '../../src/release/release.ts';
import { poolActivations, probeLogits } from '../../src/trigger/match.ts';

export type Expected = { scores: number[]; probeScores: number[]; victimScores: number[] };

/** The softmax scores, probe logits and victim's softmax scores of one image [H*W*C] in 0..1. */
export async function offlineAnswer(content: ReleaseContent, image: Float32Array): Promise<Expected> {
  await setBackend('cpu');
  const { network, cut } = content.manifest;
  const { height, width, channels } = network.input;
  const { probeWeights, probeBias, fingerprint } = content.guard;
  return tidy(() => {
    const feeds = new Map([[IMAGES, tensor4d(image, [1, height, width, channels])]]);
    const purified = toDevice(content.weights);
    const victim = new Map([...purified, ...toDevice(content.victimHead)]);
    const [logits] = forward(network, purified, feeds, [network.output]);
    const [victimLogits, ...watched] = forward(network, victim, feeds, [network.output, ...guardNodes(network, cut)]);
    const features = concat(watched.map(poolActivations), 1) as Tensor2D;
    const triggerCount = fingerprint.triggers.length;
    const weights = tensor2d(probeWeights, [probeWeights.length / triggerCount, triggerCount]);
    const values = (tensor: Tensor): number[] => Array.from(tensor.dataSync());
    return {
      scores: values(softmax(logits!)),
      probeScores: values(probeLogits(features, weights, tensor1d(probeBias))),
      victimScores: values(softmax(victimLogits!)),
    };
  });
}

/** The largest difference between two lists of numbers of the same length. */
export function largestDifference(actual: readonly number[], expected: readonly number[]): number {
  if (actual.length !== expected.length) return Infinity;
  return Math.max(...actual.map((value, index) => Math.abs(value - expected[index]!)));
}
