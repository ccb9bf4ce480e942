/**
 * Dense recovery: for every label the faintest universal trigger that is spread over the whole image, all labels in one batch; any addition, a smooth one, or a warp.
 *
 * An attack on the whole image (blended, additive, sinusoidal, a warp) changes every pixel a little, so its L1 norm is as large as that of
 * natural triggers, and the small masks of screen.ts show a part of it at most. In the l-infinity norm it is the one that is small: a targeted universal
 * perturbation (Moosavi-Dezfooli et al., arXiv 1610.08401) towards the planted label needs a fraction of the amplitude that other labels need.
 * Difference: no norm is minimised; the amplitude follows the success rate, down while three of four images obey, up while fewer do.
 *
 * A smooth trigger has its values on a coarse grid, and is interpolated between them. Natural perturbations live on fine detail, which networks are easily led
 * astray by: held to a smooth basis they need several times the amplitude, while what was planted smooth (a blended picture, a shading, much of a warp) stays as
 * faint as it is. After the low-frequency bases of Guo et al. (arXiv 1809.08758), who look for perturbations of one image that survive filters. A warp has its flow
 * on a coarse grid too: what WaNet (arXiv 2102.10369) plants is of that make, and by nature a warp leads nowhere.
 */
import * as tf from '@tensorflow/tfjs-core';
import { forward, toDevice } from '../../src/network/forward.ts';
import { IMAGES } from '../../src/network/network.ts';
import { patternDepth, type Trigger } from '../../src/trigger/trigger.ts';
import { imageBatch, indicesWithout } from '../batch.ts';
import type { Dataset } from '../data/dataset.ts';
import { randomSource } from '../engine/random.ts';
import type { Report } from '../progress.ts';
import { isOnGrid, type CoveringForm } from './measure.ts';
import { readTriggers, stampParts, toParts, type Form } from './raw-trigger.ts';
import type { ScreenInput } from './screen.ts';

const IMAGES_PER_LABEL = 8;
/** Where the success rate is steep the amplitude is told best; the trigger that is returned is a quarter stronger, so that it works on nearly all. */
const WANTED_SUCCESS = 0.75;
const BEYOND = 1.25;
/**
 * From a quarter of the full range, which is enough for any label, the amplitude falls tenfold within 50 steps. A warp of a pixel is enough for none by nature;
 * what needs more than the most counts as if it needed that.
 */
const AMPLITUDE = { additive: { start: 0.25, most: 1 }, warp: { start: 0.5, most: 0.78 } };
const FACTOR = 1.05;
const LEAST = 1e-3;
const MEMORY = 0.8;
/** The share of the steps at the end whose mean amplitude counts: one moment's is as uncertain as a batch of a few images. */
const SETTLED_SHARE = 1 / 3;
const LEARNING_RATE = 0.2;
const ADAM_DECAY = [0.5, 0.9] as const;
/** Points of a smooth trigger or a warp along a side of the image. Of smooth ones fewer tell smooth attacks even better, but natural triggers of a ResNet-8 get as faint as 1.9 times then. */
const POINTS = { smooth: 8, warp: 4 };
const PIXELS_APART = 3;

/** Recovers the faintest trigger over the whole image for each target label; reports `{ step, steps }`. */
export async function recoverDense(input: ScreenInput & { form: CoveringForm }, report: Report): Promise<Trigger[]> {
  const { network, targetLabels, steps } = input;
  const weights = toDevice(input.weights);
  const random = randomSource(input.seed, `screen/${input.form}/${targetLabels.join()}`);
  const { height, width, channels } = input.images;
  const kind = input.form === 'warp' ? 'warp' : 'additive';
  const form: Form = { kind, height, width, channels };
  const [count, depth] = [targetLabels.length, patternDepth(form)];
  const grid = isOnGrid(input.form) ? interpolation(input.images, POINTS[input.form]) : null;
  const { start, most } = AMPLITUDE[kind];
  const size = (grid ? grid.shape[0] : height * width) * depth;
  const drawn = random.normal(count * size).map((value) => 0.3 * value);
  const values = tf.variable(tf.tensor2d(drawn, [count, size]));
  const toRaw = (): tf.Tensor2D => (grid ? interpolated(values, grid, depth) : values);
  const optimizer = tf.train.adam(LEARNING_RATE, ...ADAM_DECAY);
  const state: State = {
    amplitude: tf.variable(tf.fill([count, 1], start)),
    success: tf.variable(tf.zeros([count, 1])),
    settled: tf.variable(tf.zeros([count, 1])),
  };
  const others = targetLabels.map((target) => indicesWithout(input.images, target));
  const goal = targetLabels.flatMap((target) => Array.from({ length: IMAGES_PER_LABEL }, () => target));
  const targets = tf.oneHot(tf.tensor1d(goal, 'int32'), network.labelNames.length);

  const firstSettled = Math.floor((1 - SETTLED_SHARE) * steps);
  for (let step = 0; step < steps; step++) {
    tf.tidy(() => {
      const chosen = others.flatMap((indices) =>
        Array.from({ length: IMAGES_PER_LABEL }, () => indices[random.integer(indices.length)]!),
      );
      const images = imageBatch(input.images, chosen);
      let hits: tf.Tensor | undefined;
      const { grads } = tf.variableGrads(() => {
        const { pattern } = toParts(toRaw(), form);
        const bounded = tf.mul(tf.reshape(state.amplitude, [count, 1, 1, 1]), pattern);
        const stamped = stampParts(images, { kind, pattern: bounded as tf.Tensor4D });
        const [logits] = forward(network, weights, new Map([[IMAGES, stamped]]), [network.output]);
        const right = tf.cast(tf.equal(tf.argMax(logits!, 1), tf.tensor1d(goal, 'int32')), 'float32');
        hits = tf.keep(tf.mean(tf.reshape(right, [count, IMAGES_PER_LABEL]), 1, true));
        return tf.neg(tf.div(tf.sum(tf.mul(tf.logSoftmax(logits as tf.Tensor2D), targets)), IMAGES_PER_LABEL));
      }, [values]);
      steer(state, hits!, most, step >= firstSettled);
      optimizer.applyGradients(Object.entries(grads).map(([name, tensor]) => ({ name, tensor })));
      tf.dispose(hits!);
    });
    if (step % 10 === 9) {
      report({ step: step + 1, steps });
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  const settled = tf.tidy(() => {
    const amplitude = tf.mul(BEYOND, tf.exp(tf.div(state.settled, steps - firstSettled)));
    return tf.atanh(tf.clipByValue(tf.mul(amplitude, tf.tanh(toRaw())), -0.98, 0.98)) as tf.Tensor2D;
  });
  const triggers = await readTriggers(settled, form, targetLabels);
  tf.dispose([values, settled, ...(grid ? [grid] : []), targets, ...Object.values(state), ...weights.values()]);
  optimizer.dispose();
  return triggers;
}

/** What each point [P] of the grid gives to each pixel [H*W], bilinear, with the outermost points on the edges of the image. */
function interpolation({ height, width }: Pick<Dataset, 'height' | 'width'>, most: number): tf.Tensor2D {
  const [rows, columns] = [pointsAlong(height, most), pointsAlong(width, most)];
  const share = (pixel: number, length: number, point: number, points: number): number =>
    Math.max(0, 1 - Math.abs((pixel * (points - 1)) / Math.max(1, length - 1) - point));
  const shares = Float32Array.from({ length: rows * columns * height * width }, (_, index) => {
    const [point, pixel] = [Math.floor(index / (height * width)), index % (height * width)];
    const down = share(Math.floor(pixel / width), height, Math.floor(point / columns), rows);
    return down * share(pixel % width, width, point % columns, columns);
  });
  return tf.tensor2d(shares, [rows * columns, height * width]);
}

/** Points along a side of `length` pixels: few enough that what lies between them is smooth. */
const pointsAlong = (length: number, most: number): number =>
  Math.max(2, Math.min(most, Math.floor(length / PIXELS_APART)));

/** Raw triggers [N,H*W*D] from their values [N,P*D] at the points of a grid. */
function interpolated(values: tf.Tensor2D, grid: tf.Tensor2D, depth: number): tf.Tensor2D {
  const [count, [points, pixels]] = [values.shape[0], grid.shape];
  const planes = tf.transpose(tf.reshape(values, [count, points, depth]), [0, 2, 1]);
  const grown = tf.matMul(tf.reshape(planes, [count * depth, points]), grid);
  return tf.reshape(tf.transpose(tf.reshape(grown, [count, depth, pixels]), [0, 2, 1]), [count, pixels * depth]);
}

type State = Record<'amplitude' | 'success' | 'settled', tf.Variable>;

/** Moves the amplitudes, and sums their logarithms once they have settled. */
function steer({ amplitude, success, settled }: State, hits: tf.Tensor, most: number, isSettled: boolean): void {
  success.assign(tf.add(tf.mul(success, MEMORY), tf.mul(hits, 1 - MEMORY)));
  const factor = tf.where(
    tf.greaterEqual(success, WANTED_SUCCESS),
    tf.fill(amplitude.shape, 1 / FACTOR),
    tf.fill(amplitude.shape, FACTOR),
  );
  amplitude.assign(tf.clipByValue(tf.mul(amplitude, factor), LEAST, most));
  if (isSettled) settled.assign(tf.add(settled, tf.log(amplitude)));
}
