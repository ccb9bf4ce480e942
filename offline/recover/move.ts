/**
 * Moving: an attacker may stamp a patch at a random place in each image (the paper's "moved trigger"; Liu et al., arXiv 2201.09538, section 5), and recovery
 * finds it at one, or parts of it at several. A small trigger whose core works far from where it was recovered is planted anywhere, so copies of the core elsewhere are triggers
 * too. One that was planted at a fixed place works within a few pixels of it, or, in a network that averages over places, only where its strides fall as
 * they did there.
 */
import { patternDepth, triggerNorm, type Trigger } from '../../src/trigger/trigger.ts';
import type { RandomSource } from '../engine/random.ts';
import { mean } from '../mean.ts';
import { labelHitRates } from './measure.ts';
import type { Recovery } from './screening.ts';

/** The share of its norm that a moved trigger must keep within the image. */
const KEPT = 0.9;
/** How far a trigger is moved to try it elsewhere, as a share of the image's sides. */
const FAR = 1 / 4;
const TRIES = 8;
/** The sides of the window that holds a trigger's core, as a share of the image's: larger than patches are, smaller than the way between copies. */
const CORE = 1 / 3;
/**
 * How far beyond the label's natural rate the core of a trigger succeeds, on average, far from its place from which on it works anywhere. On victims of the
 * project's own: 0.22 to 0.71 of 5 x 5 patches at random places, at most 0.08 of triggers at a fixed one in a small CNN or VGG, 0.18 in a ResNet-8.
 */
const ANYWHERE = 0.15;
/**
 * How much of a trigger's success its core must have, for a patch is its core: 0.86 or more of patches on victims of the project's own, at most 0.45 of triggers of the
 * whole image in a ResNet-8. And how much of its core's success one pixel may leave at least. On victims of the project's own: 0.8 or more of it is left of patches at random places, at most 0.5 of
 * patches at a fixed one in a ResNet-8, which work at some places far away as well as at their own.
 */
const STEADY = 0.6;
const NEIGHBOURS = [
  [1, 0],
  [-1, 0],
  [0, 1],
  [0, -1],
] as const;
/** A trigger that covers the image fits nowhere else. */
const MOST_DRAWS = 200;

/** A trigger moved by some pixels; what leaves the image is lost, and nothing comes in. */
export function movedBy(trigger: Trigger, down: number, right: number): Trigger {
  const { height, width, pattern } = trigger;
  const move = (values: Float32Array, depth: number): Float32Array => {
    const moved = new Float32Array(values.length);
    for (let row = Math.max(0, down); row < Math.min(height, height + down); row++) {
      const first = Math.max(0, -right);
      const count = width - Math.abs(right);
      const from = ((row - down) * width + first) * depth;
      moved.set(values.subarray(from, from + count * depth), (row * width + first + right) * depth);
    }
    return moved;
  };
  const moved = move(pattern, patternDepth(trigger));
  if (trigger.kind !== 'blend') return { ...trigger, pattern: moved };
  return { ...trigger, mask: move(trigger.mask, 1), pattern: moved };
}

/** A trigger within the window that holds most of it, and nothing elsewhere. */
export function coreOf(trigger: Trigger): Trigger {
  const { height, width, pattern } = trigger;
  const depth = patternDepth(trigger);
  const [rows, columns] = [Math.ceil(CORE * height), Math.ceil(CORE * width)];
  const weightOf = (pixel: number): number =>
    trigger.kind === 'blend'
      ? trigger.mask[pixel]!
      : pattern.subarray(pixel * depth, (pixel + 1) * depth).reduce((sum, value) => sum + Math.abs(value), 0);
  let best = { top: 0, left: 0, weight: -1 };
  for (let top = 0; top <= height - rows; top++) {
    for (let left = 0; left <= width - columns; left++) {
      let weight = 0;
      for (let at = 0; at < rows * columns; at++) {
        weight += weightOf((top + Math.floor(at / columns)) * width + left + (at % columns));
      }
      if (weight > best.weight) best = { top, left, weight };
    }
  }
  const isWithin = (pixel: number): boolean => {
    const [row, column] = [Math.floor(pixel / width) - best.top, (pixel % width) - best.left];
    return row >= 0 && row < rows && column >= 0 && column < columns;
  };
  const keep = (values: Float32Array, deep: number): Float32Array =>
    values.map((value, index) => (isWithin(Math.floor(index / deep)) ? value : 0));
  const kept = keep(pattern, depth);
  if (trigger.kind !== 'blend') return { ...trigger, pattern: kept };
  return { ...trigger, mask: keep(trigger.mask, 1), pattern: kept };
}

/** Copies of a trigger at random places that keep nearly all of it, moved by at least a share of a side; fewer than `count` where it hardly fits elsewhere. */
export function movedCopies(trigger: Trigger, count: number, leastShare: number, random: RandomSource): Trigger[] {
  const { height, width } = trigger;
  const norm = triggerNorm(trigger);
  const copies: Trigger[] = [];
  for (let draw = 0; draw < MOST_DRAWS && copies.length < count; draw++) {
    const [down, right] = [random.integer(2 * height - 1) - height + 1, random.integer(2 * width - 1) - width + 1];
    if (Math.max(Math.abs(down) / height, Math.abs(right) / width) < leastShare) continue;
    const moved = movedBy(trigger, down, right);
    if (triggerNorm(moved) >= KEPT * norm) copies.push(moved);
  }
  return copies;
}

/** Whether the core of a trigger works far from where it was recovered, and not only at places that the network cannot tell from that one. */
export async function worksAnywhere(recovery: Recovery, trigger: Trigger, random: RandomSource): Promise<boolean> {
  const core = coreOf(trigger);
  const copies = movedCopies(core, TRIES, FAR, random);
  if (copies.length < TRIES) return false;
  const near = NEIGHBOURS.map(([down, right]) => movedBy(core, down, right));
  // Moved out of the image it is no trigger, and what it gets is the natural rate.
  const tried = [movedBy(core, core.height, 0), trigger, core, ...near, ...copies];
  const hitRates = await labelHitRates(recovery, recovery.split.heldBack, tried);
  const [natural, ...rates] = hitRates.map((ofTrigger) => ofTrigger[trigger.targetLabel]!);
  const [whole, own, ...moved] = rates.map((rate) => rate - natural!);
  const isPatch = own! >= STEADY * whole! && mean(moved.slice(0, near.length)) >= STEADY * own!;
  return isPatch && mean(moved.slice(near.length)) >= ANYWHERE;
}
