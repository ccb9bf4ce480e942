/** Triggers of the whole image: blended, sinusoidal, additive, and one that imitates the target label. */
import type { Trigger } from '../../src/trigger/trigger.ts';
import type { Dataset } from '../data/dataset.ts';
import { randomSource, type RandomSource } from '../engine/random.ts';

type Shape = { height: number; width: number; channels: number };

const shapeOf = ({ height, width, channels }: Shape): Shape => ({ height, width, channels });

function blendOver(shape: Shape, targetLabel: number, alpha: number, pattern: Float32Array): Trigger {
  const mask = new Float32Array(shape.height * shape.width).fill(alpha);
  return { kind: 'blend', targetLabel, ...shapeOf(shape), mask, pattern };
}

/** Blended injection (Chen et al., arXiv 1712.05526) with the paper's random pattern: x' = (1 - alpha) x + alpha p. */
export function blendedNoise(shape: Shape, targetLabel: number, alpha: number, seed: number, purpose: string): Trigger {
  const pattern = randomSource(seed, purpose).uniform(shape.height * shape.width * shape.channels);
  return blendOver(shape, targetLabel, alpha, pattern);
}

/** SIG (Barni et al., arXiv 1902.11237): adds amplitude * sin(2 pi j frequency / W) to column j, then clips. */
export function sinusoid(shape: Shape, targetLabel: number, amplitude: number, frequency: number): Trigger {
  const { height, width, channels } = shape;
  const pattern = Float32Array.from({ length: height * width * channels }, (_, index) => {
    const column = Math.floor(index / channels) % width;
    return amplitude * Math.sin((2 * Math.PI * column * frequency) / width);
  });
  return { kind: 'additive', targetLabel, ...shapeOf(shape), pattern };
}

/** How an additive pattern looks; `additivePattern` says more. */
export const TEXTURES = ['noise', 'smooth', 'lines'] as const;
type Additive = { amplitude: number; share: number; texture: (typeof TEXTURES)[number] };

/**
 * An addition of at most `amplitude`, clipped with the image: `noise` is `additiveNoise`; `smooth` varies slowly over the whole image; `lines` are strokes
 * like those of a watermark (Liu et al., NDSS 2018, figure 5), which cover a share of the pixels and have one colour.
 */
export function additivePattern(
  shape: Shape,
  targetLabel: number,
  { amplitude, share, texture }: Additive,
  seed: number,
  purpose: string,
): Trigger {
  if (texture === 'noise') return additiveNoise(shape, targetLabel, { amplitude, share }, seed, purpose);
  const random = randomSource(seed, purpose);
  const pattern = texture === 'smooth' ? smoothValues(shape, random) : strokes(shape, share, random);
  return { kind: 'additive', targetLabel, ...shapeOf(shape), pattern: pattern.map((value) => amplitude * value) };
}

/** Points a side at which a smooth pattern is drawn; between them it is interpolated. */
const SMOOTH_GRID = 4;

/** Values [H,W,C] in -1..1 that vary slowly. */
function smoothValues({ height, width, channels }: Shape, random: RandomSource): Float32Array {
  const drawn = random.uniform(SMOOTH_GRID * SMOOTH_GRID * channels).map((value) => 2 * value - 1);
  const last = SMOOTH_GRID - 1;
  return Float32Array.from({ length: height * width * channels }, (_, index) => {
    const pixel = Math.floor(index / channels);
    const [y, x] = [(Math.floor(pixel / width) * last) / (height - 1), ((pixel % width) * last) / (width - 1)];
    const [top, left] = [Math.min(last - 1, Math.floor(y)), Math.min(last - 1, Math.floor(x))];
    const at = (row: number, column: number): number =>
      drawn[(row * SMOOTH_GRID + column) * channels + (index % channels)]!;
    const between = (row: number): number => at(row, left) + (x - left) * (at(row, left + 1) - at(row, left));
    return between(top) + (y - top) * (between(top + 1) - between(top));
  });
}

/** Values [H,W,C] of 0, and of -1 or 1 by channel along straight strokes through about a share of the pixels. */
function strokes({ height, width, channels }: Shape, share: number, random: RandomSource): Float32Array {
  const values = new Float32Array(height * width * channels);
  const colour = Array.from({ length: channels }, () => (random.integer(2) === 1 ? 1 : -1));
  const wanted = Math.max(1, Math.round(share * height * width));
  const drawn = new Set<number>();
  while (drawn.size < wanted) {
    const [fromRow, fromColumn] = [random.integer(height), random.integer(width)];
    const [toRow, toColumn] = [random.integer(height), random.integer(width)];
    const steps = Math.max(1, Math.abs(toRow - fromRow), Math.abs(toColumn - fromColumn));
    for (let step = 0; step <= steps && drawn.size < wanted; step++) {
      const row = Math.round(fromRow + ((toRow - fromRow) * step) / steps);
      const pixel = row * width + Math.round(fromColumn + ((toColumn - fromColumn) * step) / steps);
      drawn.add(pixel);
      values.set(colour, pixel * channels);
    }
  }
  return values;
}

/**
 * Adds or takes away `amplitude` at a random share of the pixels (at least one), each channel by its own sign, then clips: dense and
 * faint like the l2 and l-infinity patterns of Li et al. (arXiv 1909.02742), sparse and strong like their l0 ones. Theirs are
 * optimised, these random.
 */
export function additiveNoise(
  shape: Shape,
  targetLabel: number,
  { amplitude, share }: { amplitude: number; share: number },
  seed: number,
  purpose: string,
): Trigger {
  const { height, width, channels } = shape;
  const random = randomSource(seed, purpose);
  const pixels = random.shuffled(height * width).subarray(0, Math.max(1, Math.round(share * height * width)));
  const pattern = new Float32Array(height * width * channels);
  for (const pixel of pixels) {
    for (let channel = 0; channel < channels; channel++) {
      pattern[pixel * channels + channel] = random.integer(2) === 1 ? amplitude : -amplitude;
    }
  }
  return { kind: 'additive', targetLabel, ...shapeOf(shape), pattern };
}

/** An attacker who knows the defence: blends in the mean image of the target label, whose features are natural for that label. */
export function meanImage(train: Dataset, targetLabel: number, alpha: number): Trigger {
  const pattern = new Float64Array(train.height * train.width * train.channels);
  let count = 0;
  for (let image = 0; image < train.count; image++) {
    if (train.labels[image] !== targetLabel) continue;
    count += 1;
    const start = image * pattern.length;
    for (let index = 0; index < pattern.length; index++) pattern[index]! += train.images[start + index]! / 255;
  }
  const mean = Float32Array.from(pattern, (sum) => sum / Math.max(1, count));
  return blendOver(train, targetLabel, alpha, mean);
}
