import { memory } from '@tensorflow/tfjs-core';
import { beforeAll, expect, test } from 'vitest';
import { openWasm } from '../../offline/engine/wasm.ts';
import { mean } from '../../offline/mean.ts';
import { seeHeldBack, type HeldBack } from '../../offline/unlearn/held-back.ts';
import { givenBack, mixOf, relaxedGoal, victimGoal } from '../../offline/unlearn/interpolate.ts';
import type { HostWeights } from '../../src/network/safetensors.ts';
import { HALF_BRIGHTER, pixelImages, pixelNetwork } from '../support/pixel.ts';
import { floatTensor } from '../support/tensors.ts';

beforeAll(openWasm);

/** The pixel is passed on as it is: the brighter, the more it is "bright". */
const network = pixelNetwork(
  { type: 'dense', name: 'seen', inputs: ['flat'], units: 1, bias: false },
  { type: 'dense', name: 'logits', inputs: ['seen'], units: 2, bias: true },
);
const DARK = Array.from({ length: 40 }, (_, index) => index);
const BRIGHT = [255, 255];
const images = pixelImages(DARK, BRIGHT);

const TRUNK = floatTensor([1, 1], [1]);
/** How the logit of "bright" depends on the pixel. */
type Line = { slope: number; bias: number };
const weightsOf = ({ slope, bias }: Line): HostWeights =>
  new Map([
    ['seen/kernel', TRUNK],
    ['logits/kernel', floatTensor([1, 2], [0, slope])],
    ['logits/bias', floatTensor([2], [0, bias])],
  ]);
const lineOf = (weights: HostWeights): Line => ({
  slope: weights.get('logits/kernel')!.data[1]!,
  bias: weights.get('logits/bias')!.data[1]!,
});
const VICTIM: Line = { slope: 30, bias: -12 };
let heldBack: HeldBack;
beforeAll(async () => {
  heldBack = await seeHeldBack({ network, images, triggers: [HALF_BRIGHTER] }, weightsOf(VICTIM), 'seen');
});

const lineAt = (share: number, unlearned: Line): Line => ({
  slope: unlearned.slope + share * (VICTIM.slope - unlearned.slope),
  bias: unlearned.bias + share * (VICTIM.bias - unlearned.bias),
});
/** The mean probability of "bright" for these pixels, in closed form. */
const brightness = (pixels: readonly number[], { slope, bias }: Line, added = 0): number =>
  mean(pixels.map((value) => 1 / (1 + Math.exp(-slope * (value / 255 + added) - bias))));
/** How much of the probability of the true label is lost. */
function costOf(line: Line): number {
  const confidence = (of: Line): number =>
    (DARK.length * (1 - brightness(DARK, of)) + BRIGHT.length * brightness(BRIGHT, of)) / images.count;
  return confidence(VICTIM) - confidence(line);
}
/** The largest share of the way, in eighths, up to which the trigger is denied. */
const mostDenied = (unlearned: Line): number =>
  [7, 6, 5, 4, 3, 2, 1, 0]
    .map((count) => count / 8)
    .find((at) => brightness(DARK, lineAt(at, unlearned), 0.5) <= 0.01)!;

async function shareOf(unlearned: Line): Promise<number> {
  const tensors = memory().numTensors;
  const back = await givenBack(heldBack, weightsOf(unlearned), victimGoal(weightsOf(VICTIM)));
  expect(memory().numTensors).toBe(tensors);
  expect(back.get('seen/kernel')).toBe(TRUNK);
  const share = (lineOf(back).bias - unlearned.bias) / (VICTIM.bias - unlearned.bias);
  expect(lineOf(back).slope).toBeCloseTo(lineAt(share, unlearned).slope, 4);
  return share;
}

test('a head that takes bright images for dark ones goes back half as far as the trigger stays denied', async () => {
  const unlearned = { slope: 9, bias: -14 };
  const most = mostDenied(unlearned);
  expect(most).toBeGreaterThan(0);
  expect(most).toBeLessThan(7 / 8);
  expect(costOf(lineAt(most / 2, unlearned))).toBeGreaterThan(0.004);
  expect(costOf(lineAt((most / 2) * (7 / 8), unlearned))).toBeGreaterThan(costOf(lineAt(most / 2, unlearned)));
  expect(await shareOf(unlearned)).toBeCloseTo(most / 2, 4);
});

test('a costly head stays what it is where the way on which the trigger is denied gets nothing back', async () => {
  const unlearned = { slope: -10, bias: -9 };
  const most = mostDenied(unlearned);
  expect(most).toBeGreaterThan(0);
  expect(costOf(unlearned)).toBeGreaterThan(0.004);
  expect(costOf(unlearned) - costOf(lineAt(most / 2, unlearned))).toBeLessThan(0.0005);
  expect(await shareOf(unlearned)).toBeCloseTo(0, 4);
});

test('a head goes back no further than it takes to cost 0.4 points of probability', async () => {
  const unlearned = { slope: 30, bias: -29 };
  const half = mostDenied(unlearned) / 2;
  const share = await shareOf(unlearned);
  expect(share).toBeLessThan(half);
  expect(costOf(lineAt(share, unlearned))).toBeLessThanOrEqual(0.004);
  expect(costOf(lineAt(share - half / 8, unlearned))).toBeGreaterThan(0.004);
});

test('a head that costs nothing stays what it is, however far the trigger would be denied', async () => {
  const unlearned = weightsOf({ slope: 30, bias: -26 });
  expect(mostDenied(lineOf(unlearned))).toBeGreaterThan(0);
  expect(await givenBack(heldBack, unlearned, victimGoal(weightsOf(VICTIM)))).toBe(unlearned);
});

test('a costly head that does not deny the trigger goes back nowhere', async () => {
  const obedient = { slope: 10, bias: -8 };
  expect(costOf(obedient)).toBeGreaterThan(0.004);
  expect(brightness(DARK, obedient, 0.5)).toBeGreaterThan(0.01);
  expect(await shareOf(obedient)).toBeCloseTo(0, 4);
});

test('a head goes all the way to a relaxed one on which the trigger is half as likely as one that counts as denied may be', async () => {
  const [unlearned, goal] = [
    { slope: 9, bias: -14 },
    { slope: 20, bias: -14 },
  ];
  const lineTo = (share: number): Line => ({ slope: 9 + 11 * share, bias: -14 });
  const isDenied = (eighths: number): boolean => brightness(DARK, lineTo(eighths / 8), 0.5) <= 0.005;
  const most = [7, 6, 5, 4, 3, 2, 1, 0].find(isDenied)! / 8;
  expect(most).toBeGreaterThan(0);
  expect(most).toBeLessThan(7 / 8);
  expect(costOf(lineTo(most))).toBeGreaterThan(0.004);
  const back = lineOf(await givenBack(heldBack, weightsOf(unlearned), relaxedGoal(weightsOf(goal))));
  expect(back.slope).toBeCloseTo(lineTo(most).slope, 4);
  expect(back.bias).toBeCloseTo(lineTo(most).bias, 4);
});

test('a mix is the victim at no share, and the unlearned network at the whole', () => {
  const [victim, unlearned] = [weightsOf(VICTIM), weightsOf({ slope: -10, bias: -6 })];
  expect(mixOf(victim, unlearned, 0)).toEqual(victim);
  expect(mixOf(victim, unlearned, 1)).toEqual(unlearned);
});
