import * as tf from '@tensorflow/tfjs-core';

const BATCHES = 4;

/**
 * How much the clean loss depends on each weight: omega_k = mean |dCE_clean / dtheta_k| over a few batches, divided by its mean over
 * all weights (BAERASER, arXiv 2201.09538, the penalty of eq. 4). The caller disposes the tensors.
 */
export function sensitivity(
  cleanLoss: () => tf.Scalar,
  variables: ReadonlyMap<string, tf.Variable>,
): Map<string, tf.Tensor> {
  const kept = tf.tidy(() => {
    const sums = new Map<string, tf.Tensor>([...variables].map(([name, value]) => [name, tf.zerosLike(value)]));
    for (let batch = 0; batch < BATCHES; batch++) {
      const { grads } = tf.variableGrads(cleanLoss, [...variables.values()]);
      for (const [name, value] of variables) sums.set(name, tf.add(sums.get(name)!, tf.abs(grads[value.name]!)));
    }
    const size = [...sums.values()].reduce((total, sum) => total + sum.size, 0);
    const mean = tf.div(tf.addN([...sums.values()].map((sum) => tf.sum(sum))), size);
    return Object.fromEntries([...sums].map(([name, sum]) => [name, tf.div(sum, mean)]));
  });
  return new Map(Object.entries(kept));
}
