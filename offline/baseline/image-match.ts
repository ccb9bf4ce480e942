/** Matching in image space: is the recovered trigger to be seen in the image? Costs no forward pass. */
import type { Trigger } from '../../src/trigger/trigger.ts';
import type { DetectorInput, Fitted } from './detector.ts';

/** Below this spread of pixel values a correlation says nothing. */
const LEAST_VARIANCE = 1e-6;

/** The score of an image is its largest correlation with any recovered trigger. */
export async function matchImages({ pools }: DetectorInput): Promise<Fitted> {
  const triggers = pools.flat();
  return {
    score: async ({ images, count, height, width, channels }) => {
      const size = height * width * channels;
      return Float32Array.from({ length: count }, (_, index) => {
        const pixels = images.subarray(index * size, (index + 1) * size);
        return Math.max(...triggers.map((trigger) => correlation(pixels, trigger)));
      });
    },
  };
}

/**
 * The correlation -1..1 of one image's values [H,W,C] with a trigger's pattern, each pixel weighted by the mask (an additive trigger's
 * by the size of its pattern); 0 where either is flat, and of a warp, which has no pattern that an image could resemble.
 */
export function correlation(pixels: ArrayLike<number>, trigger: Trigger): number {
  const { pattern, channels } = trigger;
  if (trigger.kind === 'warp') return 0;
  const weightOf = (index: number): number =>
    trigger.kind === 'blend' ? trigger.mask[Math.floor(index / channels)]! : Math.abs(pattern[index]!);
  let total = 0;
  let [x, p, xx, pp, xp] = [0, 0, 0, 0, 0];
  for (let index = 0; index < pattern.length; index++) {
    const weight = weightOf(index);
    const [value, wanted] = [pixels[index]! / 255, pattern[index]!];
    total += weight;
    x += weight * value;
    p += weight * wanted;
    xx += weight * value * value;
    pp += weight * wanted * wanted;
    xp += weight * value * wanted;
  }
  if (total === 0) return 0;
  const varianceOf = (square: number, sum: number): number => square / total - (sum / total) ** 2;
  const [spread, shape] = [varianceOf(xx, x), varianceOf(pp, p)];
  if (spread < LEAST_VARIANCE || shape < LEAST_VARIANCE) return 0;
  return (xp / total - (x / total) * (p / total)) / Math.sqrt(spread * shape);
}
