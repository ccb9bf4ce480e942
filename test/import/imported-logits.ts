/** What an imported model answers. */
import { tensor, tidy } from '@tensorflow/tfjs-core';
import { completeDraft, type Draft } from '../../offline/import/imported.ts';
import { forward, toDevice } from '../../src/network/forward.ts';
import { IMAGES } from '../../src/network/network.ts';
import type { Result } from '../../src/result.ts';

/** The logits [B*K] of a draft for `images [B,H,W,C] in 0..1`. */
export function importedLogits(draft: Result<Draft>, images: Float32Array, shape: readonly number[]): Float32Array {
  if (!draft.ok) throw new Error(draft.error);
  const model = completeDraft(draft.value, {});
  if (!model.ok) throw new Error(model.error);
  const { network, weights } = model.value;
  return tidy(() => {
    const feeds = new Map([[IMAGES, tensor(images, [...shape])]]);
    const [output] = forward(network, toDevice(weights), feeds, [network.output]);
    return output!.dataSync() as Float32Array;
  });
}

/** The largest absolute difference of two lists of equal length. */
export function largestDifference(values: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (values.length !== expected.length) throw new Error(`expected ${expected.length} values, got ${values.length}`);
  return Array.from(values).reduce((largest, value, index) => Math.max(largest, Math.abs(value - expected[index]!)), 0);
}
