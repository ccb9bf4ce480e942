/**
 * WaNet (Nguyen and Tran, arXiv 2102.10369): an image is bent along a smooth flow, drawn as a coarse grid of random shifts of
 * equal average size and enlarged bicubically. Differences: the size is given in pixels (the paper's s = 0.5 moves a pixel of a
 * 32 x 32 image by about a quarter of a pixel), and the images warped for noise are chosen once, not in every batch.
 */
import { within, type Flow, type Size } from '../../src/trigger/warp.ts';
import { randomSource } from '../engine/random.ts';

/** A smooth flow for images [H,W]: `grid` x `grid` random shifts that move each axis by `strength` pixels on average, enlarged. */
export function smoothFlow(size: Size, grid: number, strength: number, seed: number, purpose: string): Flow {
  const control = randomSource(seed, purpose)
    .uniform(grid * grid * 2)
    .map((value) => 2 * value - 1);
  const average = control.reduce((sum, value) => sum + Math.abs(value), 0) / control.length;
  const scaled = control.map((value) => (value * strength) / average);
  return enlarge(scaled, grid, size);
}

/** A flow shaken at every pixel and axis by up to half a pixel; what it warps keeps its label, so that only the exact flow is a trigger. */
export function shaken(flow: Flow, seed: number, purpose: string): Flow {
  const noise = randomSource(seed, purpose).uniform(flow.length);
  return flow.map((value, index) => value + noise[index]! - 0.5);
}

/** Cubic convolution (Keys 1981, a = -0.75) of [grid,grid,2] to [H,W,2], corners upon corners. */
function enlarge(control: Float32Array, grid: number, { height, width }: Size): Flow {
  const flow = new Float32Array(height * width * 2);
  const [rows, columns] = [taps(height, grid), taps(width, grid)];
  for (let position = 0; position < height * width; position++) {
    const [down, across] = [rows[Math.floor(position / width)]!, columns[position % width]!];
    for (let axis = 0; axis < 2; axis++) {
      let sum = 0;
      for (const [row, share] of down) {
        for (const [column, part] of across) sum += share * part * control[(row * grid + column) * 2 + axis]!;
      }
      flow[2 * position + axis] = sum;
    }
  }
  return flow;
}

/** For each of `size` places along an axis the four control points that it is made of, with their shares. */
function taps(size: number, grid: number): [point: number, share: number][][] {
  return Array.from({ length: size }, (_, index) => {
    const place = (index * (grid - 1)) / (size - 1);
    const first = Math.floor(place) - 1;
    return [0, 1, 2, 3].map((tap) => [within(first + tap, grid - 1), cubic(Math.abs(place - first - tap))]);
  });
}

function cubic(distance: number): number {
  const a = -0.75;
  if (distance <= 1) return ((a + 2) * distance - (a + 3)) * distance ** 2 + 1;
  return distance < 2 ? a * (((distance - 5) * distance + 8) * distance - 4) : 0;
}
