import { beforeAll, expect, test } from 'vitest';
import type { Dataset } from '../../offline/data/dataset.ts';
import { openEngine, type Engine } from '../../offline/engine/engine.ts';
import { unlearn, type CutInput } from '../../offline/unlearn/cut.ts';
import type { HostWeights } from '../../src/network/safetensors.ts';
import { HALF_BRIGHTER, pixelImages, pixelNetwork } from '../support/pixel.ts';
import { floatTensor } from '../support/tensors.ts';

let engine: Engine;
beforeAll(async () => {
  const opened = await openEngine('wasm');
  if (!opened.ok) throw new Error(opened.error);
  engine = opened.value;
});

/** Bright from 0.4 on. Without a bias in its output layer nothing is restored, so that only what is given back moves a head. */
const network = pixelNetwork(
  { type: 'dense', name: 'seen', inputs: ['flat'], units: 2, bias: true },
  { type: 'dense', name: 'logits', inputs: ['seen'], units: 2, bias: false },
);
const HEAD = 'logits/kernel';
const victim: HostWeights = new Map([
  ['seen/kernel', floatTensor([1, 2], [1, 0])],
  ['seen/bias', floatTensor([2], [0, 1])],
  [HEAD, floatTensor([2, 2], [0, 30, 0, -12])],
]);
const FORTY = Array.from({ length: 40 }, (_, index) => index % 4);
const imagesOf = (brightness: number): Dataset =>
  pixelImages(
    FORTY,
    FORTY.map((value) => value + brightness),
  );
/** Bright images to learn from are so bright that denying the trigger costs them nothing; those held back pay. */
const split = { learn: imagesOf(250), heldBack: imagesOf(150) };
const headOf = (weights: HostWeights): number[] => [...weights.get(HEAD)!.data];

test.each([1, 2, 3])(
  'a head goes a part of the way back to the victim, but not one that has unlearned the same trigger because a fresh recovery found it (seed %i)',
  async (seed) => {
    const model = { network, weights: victim, split, seed, engine };
    const relatives = { grown: [], faded: [], lingering: [], extent: 'one place' as const };
    const input: CutInput = { ...model, ...relatives, pools: [[HALF_BRIGHTER]], cuts: ['seen'] };
    const headWith = async (more: Partial<CutInput>): Promise<number[]> =>
      headOf((await unlearn({ ...input, ...more }, 'late', 'seen', () => {})).weights);
    const [known, found] = [await headWith({ faded: [HALF_BRIGHTER] }), await headWith({ lingering: [HALF_BRIGHTER] })];
    const was = headOf(victim);
    const share = (known[3]! - found[3]!) / (was[3]! - found[3]!);
    expect(share).toBeGreaterThan(0.02);
    expect(share).toBeLessThanOrEqual(0.5);
    known.forEach((value, at) => expect(value).toBeCloseTo(found[at]! + share * (was[at]! - found[at]!), 4));
  },
);
