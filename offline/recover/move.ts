/**
 * Moving: an attacker may stamp a patch at a random place in each image (the paper's "moved trigger"; Liu et al., arXiv 2201.09538, section 5), and recovery
 * finds it at one. A small trigger that works far from where it was recovered is planted anywhere, so its copies elsewhere are triggers too. One that was
 * planted at a fixed place works within a few pixels of it.
 */
import { triggerNorm, type Trigger } from '../../src/trigger/trigger.ts';
import type { RandomSource } from '../engine/random.ts';
import { measureTriggers, type Measured } from './measure.ts';
import type { Recovery } from './screening.ts';

/** The share of its norm that a moved trigger must keep within the image. */
const KEPT = 0.9;
/** How far a trigger is moved to try it elsewhere, as a share of the image's sides. */
const FAR = 1 / 4;
const TRIES = 8;
/**
 * The mean success rate far from its place from which on a trigger works anywhere. On victims of the project's own: 0.4 to 0.8 of a patch at random
 * places, at most 0.1 of those at fixed ones.
 */
const ANYWHERE = 0.3;
/** A trigger that covers the image fits nowhere else. */
const MOST_DRAWS = 200;

/** A trigger moved by some pixels; what leaves the image is lost, and nothing comes in. */
export function movedBy(trigger: Trigger, down: number, right: number): Trigger {
  const { height, width, channels, pattern } = trigger;
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
  if (trigger.kind === 'additive') return { ...trigger, pattern: move(pattern, channels) };
  return { ...trigger, mask: move(trigger.mask, 1), pattern: move(pattern, channels) };
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

/** Whether the smallest of a label's small triggers works far from where it was recovered. */
export async function worksAnywhere(
  recovery: Recovery,
  { form, trigger }: Measured,
  random: RandomSource,
): Promise<boolean> {
  const copies = movedCopies(trigger, TRIES, FAR, random);
  if (copies.length < TRIES) return false;
  const measured = await measureTriggers(
    recovery,
    recovery.split.heldBack,
    copies.map((copy) => ({ form, trigger: copy })),
  );
  return measured.reduce((sum, { hitRate }) => sum + hitRate, 0) / TRIES >= ANYWHERE;
}
