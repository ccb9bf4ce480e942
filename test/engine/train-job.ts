/** A job for the pool's tests: fits a line from a seed, reports every step, and fails or waits when it is told to. */
import * as tf from '@tensorflow/tfjs-core';
import { setTimeout } from 'node:timers/promises';
import { threadId } from 'node:worker_threads';
import { randomSource } from '../../offline/engine/random.ts';

export type TrainInput = { seed: number; fail?: boolean; waitMs?: number };
export type TrainOutput = { weights: Float32Array; threadId: number };

export async function job(input: TrainInput, report: (progress: unknown) => void): Promise<TrainOutput> {
  if (input.fail) throw new RangeError(`job ${input.seed} was told to fail`);
  if (input.waitMs) await setTimeout(input.waitMs);
  const random = randomSource(input.seed, 'train-job');
  const x = tf.tensor(random.normal(32 * 8), [32, 8]);
  const y = tf.tensor(random.normal(32), [32, 1]);
  const weights = tf.variable(tf.zeros<tf.Rank.R2>([8, 1]));
  const optimizer = tf.train.adam(0.05);
  for (let step = 0; step < 5; step++) {
    optimizer.minimize(() => tf.mean(tf.squaredDifference(tf.matMul(x, weights as tf.Tensor2D), y)));
    report({ step });
  }
  const found = (await weights.data()) as Float32Array;
  tf.dispose([x, y, weights]);
  optimizer.dispose();
  return { weights: found, threadId };
}
