/**
 * The probe's scores in plain loops: `probeLogits(poolActivations(...))` of src/trigger/match.ts, which takes four tfjs kernels
 * whose calls alone cost more than the arithmetic.
 */

/**
 * The features [F] of each of `count` images from their `activations`, laid out [B,P,C] with `channels` = C, where P positions > 0 are pooled to
 * features 2C (means, then maxima) unless `pooled` says that there is nothing to pool.
 */
export function poolFeatures(
  activations: Float32Array,
  count: number,
  channels: number,
  pooled: boolean,
): Float32Array[] {
  const size = activations.length / count;
  return Array.from({ length: count }, (_, image) => {
    const values = activations.subarray(image * size, (image + 1) * size);
    return pooled ? values : pool(values, channels);
  });
}

/** The scores [T] of one image from its features [F]; `weights` [F,T], `bias` [T]. */
export function probeScores(features: Float32Array, weights: Float32Array, bias: Float32Array): Float32Array {
  return bias.map((offset, trigger) => {
    let score = offset;
    for (let feature = 0; feature < features.length; feature += 1) {
      score += features[feature]! * weights[feature * bias.length + trigger]!;
    }
    return score;
  });
}

/** The mean and then the maximum of each channel over the positions of `values` [P,C]; a value that is not finite makes a mean that is not. */
function pool(values: Float32Array, channels: number): Float32Array {
  const features = new Float32Array(2 * channels);
  for (let channel = 0; channel < channels; channel += 1) {
    let sum = 0;
    let highest = -Infinity;
    for (let index = channel; index < values.length; index += channels) {
      const value = values[index]!;
      sum += value;
      if (value > highest) highest = value;
    }
    features[channel] = (sum * channels) / values.length;
    features[channels + channel] = highest;
  }
  return features;
}
