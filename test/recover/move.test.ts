import fc from 'fast-check';
import { expect, test } from 'vitest';
import { openEngine } from '../../offline/engine/engine.ts';
import { randomSource } from '../../offline/engine/random.ts';
import { measureTriggers } from '../../offline/recover/measure.ts';
import { coreOf, movedBy, movedCopies, worksAnywhere } from '../../offline/recover/move.ts';
import { splitClean, type Recovery } from '../../offline/recover/screening.ts';
import { parseNetwork } from '../../src/network/network.ts';
import { triggerNorm, type Trigger } from '../../src/trigger/trigger.ts';
import { asCandidates } from '../support/candidates.ts';
import { stripes } from '../support/planted.ts';
import { floatTensor } from '../support/tensors.ts';

const HEIGHT = 6;
const WIDTH = 9;
const CHANNELS = 2;

/** A patch of 2 x 3 pixels, each of another value. */
const patchAt = (top: number, left: number): Trigger => {
  const mask = new Float32Array(HEIGHT * WIDTH);
  const pattern = new Float32Array(HEIGHT * WIDTH * CHANNELS);
  for (let row = 0; row < 2; row++) {
    for (let column = 0; column < 3; column++) {
      const pixel = (top + row) * WIDTH + left + column;
      mask[pixel] = 0.5 + 0.05 * (3 * row + column);
      pattern.set([0.1 + 0.1 * row, 0.1 + 0.1 * column], pixel * CHANNELS);
    }
  }
  return { kind: 'blend', targetLabel: 3, height: HEIGHT, width: WIDTH, channels: CHANNELS, mask, pattern };
};
const additive = (trigger: Trigger): Trigger => {
  const { targetLabel, height, width, channels, pattern } = trigger;
  return { kind: 'additive', targetLabel, height, width, channels, pattern };
};

test('a moved patch is the patch at the other place', () => {
  const place = { top: fc.integer({ min: 0, max: HEIGHT - 2 }), left: fc.integer({ min: 0, max: WIDTH - 3 }) };
  fc.assert(
    fc.property(fc.record(place), fc.record(place), fc.boolean(), (from, to, adds) => {
      const at = ({ top, left }: typeof from): Trigger => (adds ? additive(patchAt(top, left)) : patchAt(top, left));
      expect(movedBy(at(from), to.top - from.top, to.left - from.left)).toEqual(at(to));
    }),
  );
});

test('what is moved out of the image is lost, and nothing comes in', () => {
  const moved = movedBy(patchAt(0, 0), -1, WIDTH - 1);
  expect(triggerNorm(moved)).toBeCloseTo(0.65, 5);
  expect(triggerNorm(movedBy(patchAt(2, 2), HEIGHT - 1, 0))).toBe(0);
});

test('copies keep nearly all of a trigger, go as far as asked, and reach every such place', () => {
  const patch = patchAt(0, 0);
  const places = new Set<number>();
  for (let seed = 1; seed <= 30; seed++) {
    const copies = movedCopies(patch, 10, 0.5, randomSource(seed, 'test'));
    expect(copies.length).toBeGreaterThan(5);
    expect(copies.length).toBeLessThanOrEqual(10);
    for (const copy of copies) {
      const place = (copy as { mask: Float32Array }).mask.findIndex((value) => value > 0);
      const [top, left] = [Math.floor(place / WIDTH), place % WIDTH];
      expect(copy).toEqual(patchAt(top, left));
      expect(Math.max(top / HEIGHT, left / WIDTH)).toBeGreaterThanOrEqual(0.5);
      places.add(place);
    }
  }
  // Of five rows by seven columns of places: all of the last two rows, and two columns of the first three.
  expect(places.size).toBe(2 * 7 + 3 * 2);
});

test('a trigger that covers the image has no copies elsewhere', () => {
  const everywhere = { ...patchAt(0, 0), mask: new Float32Array(HEIGHT * WIDTH).fill(1) } as Trigger;
  expect(movedCopies(everywhere, 5, 0.25, randomSource(1, 'test'))).toEqual([]);
});

test('the core of a trigger is its heaviest part, within a third of the sides, wherever that lies', () => {
  const place = fc.record({ top: fc.integer({ min: 0, max: 4 }), left: fc.integer({ min: 0, max: 6 }) });
  fc.assert(
    fc.property(place, fc.boolean(), ({ top, left }, adds) => {
      const of = (trigger: Trigger): Trigger => (adds ? additive(trigger) : trigger);
      const patch = patchAt(top, left);
      if (patch.kind !== 'blend') throw new Error('expected a mask');
      expect(coreOf(of(patch))).toEqual(of(patch));
      const far = ((top + 3) % HEIGHT) * WIDTH + ((left + 5) % WIDTH);
      const [mask, pattern] = [patch.mask.slice(), patch.pattern.slice()];
      mask[far] = 0.4;
      pattern.fill(0.15, far * CHANNELS, (far + 1) * CHANNELS);
      expect(coreOf(of({ ...patch, mask, pattern }))).toEqual(of(patch));
    }),
  );
});

/**
 * What stamps `checks`: four pixels, light and dark like a chessboard, in 12 x 12. The network says "along" unless it sees them where its stride falls, anywhere in
 * the image: its one filter answers to nothing fainter, and its answers are averaged over places.
 */
async function chessboardDetector(stride: number): Promise<Recovery> {
  const engine = await openEngine('wasm');
  const clean = stripes(80, 1, 'move');
  const parsed = parseNetwork({
    schemaVersion: 1,
    input: { height: clean.height, width: clean.width, channels: 1 },
    layers: [
      {
        type: 'conv2d',
        name: 'seen',
        inputs: ['images'],
        filters: 1,
        kernelSize: [2, 2],
        strides: [stride, stride],
        dilations: [1, 1],
        groups: 1,
        padding: 'valid',
        bias: true,
      },
      { type: 'relu', name: 'clear', inputs: ['seen'] },
      { type: 'globalAveragePool', name: 'anywhere', inputs: ['clear'] },
      { type: 'dense', name: 'logits', inputs: ['anywhere'], units: 4, bias: true },
    ],
    output: 'logits',
    labelNames: clean.labelNames,
  });
  if (!engine.ok || !parsed.ok) throw new Error('expected an engine and a network');
  const weights = new Map([
    ['seen/kernel', floatTensor([2, 2, 1, 1], [1, -1, -1, 1])],
    ['seen/bias', floatTensor([1], [-1.5])],
    ['logits/kernel', floatTensor([1, 4], [0, 0, 0, 1e4])],
    ['logits/bias', floatTensor([4], [0, -10, -10, -10])],
  ]);
  return { network: parsed.value, weights, split: splitClean(clean, 1), seed: 1, engine: engine.value };
}
const checks = ((): Trigger => {
  const [mask, pattern] = [new Float32Array(144), new Float32Array(144)];
  for (const pixel of [52, 53, 64, 65]) mask[pixel] = 1;
  for (const pixel of [52, 65]) pattern[pixel] = 1;
  return { kind: 'blend', targetLabel: 3, height: 12, width: 12, channels: 1, mask, pattern };
})();

test.each([
  [1, true, 'works anywhere'],
  [2, false, 'does not work anywhere if it works only where a stride falls as at its own place'],
])('in a network with a stride of %i that averages over places it is %s that a trigger %s', async (stride, is) => {
  const recovery = await chessboardDetector(stride);
  const candidates = asCandidates([checks, ...[1, 2].map((right) => movedBy(checks, 0, right))]);
  const measured = await measureTriggers(recovery, recovery.split.heldBack, candidates);
  expect(measured.map(({ hitRate }) => hitRate)).toEqual([1, 2 - stride, 1]);
  for (let seed = 1; seed <= 8; seed++) {
    expect(await worksAnywhere(recovery, checks, randomSource(seed, 'test'))).toBe(is);
  }
});

/** `chessboardDetector` for which one chessboard is enough only on images whose rows are alike; on the others it takes several. */
async function reluctantDetector(): Promise<Recovery> {
  const recovery = await chessboardDetector(1);
  const layers = recovery.network.layers.map((layer) => (layer.type === 'conv2d' ? { ...layer, filters: 2 } : layer));
  const weights = new Map([
    ['seen/kernel', floatTensor([2, 2, 1, 2], [1, 1, -1, 1, -1, -1, 1, -1])],
    ['seen/bias', floatTensor([2], [-1.5, 0])],
    ['logits/kernel', floatTensor([2, 4], [0, 0, 0, 1e4, 300, 0, 0, 0])],
    ['logits/bias', floatTensor([4], [0, -10, -10, -10])],
  ]);
  return { ...recovery, network: { ...recovery.network, layers }, weights };
}

test('a trigger that needs far more than its core is no patch, though its core works on some images wherever it is', async () => {
  const recovery = await reluctantDetector();
  const [mask, pattern] = [new Float32Array(144), new Float32Array(144)];
  for (const corner of [1, 5, 9].flatMap((row) => [1, 5, 9].map((column) => 12 * row + column))) {
    for (const pixel of [0, 1, 12, 13]) mask[corner + pixel] = 1;
    for (const pixel of [0, 13]) pattern[corner + pixel] = 1;
  }
  const spread: Trigger = { ...checks, kind: 'blend', mask, pattern };
  const core = coreOf(spread);
  const candidates = asCandidates([spread, core, movedBy(core, 4, 4)]);
  const measured = await measureTriggers(recovery, recovery.split.heldBack, candidates);
  const [whole, own, far] = measured.map(({ hitRate }) => hitRate);
  expect(whole).toBe(1);
  expect(own).toBeGreaterThan(0.2);
  expect(own).toBeLessThan(0.5);
  expect(far).toBeCloseTo(own!, 1);
  expect(await worksAnywhere(recovery, spread, randomSource(1, 'test'))).toBe(false);
  // The same rates are those of a patch if the core is all that there is.
  expect(await worksAnywhere(recovery, core, randomSource(1, 'test'))).toBe(true);
});

test('what a label is given without a trigger does not make a trigger of it work anywhere', async () => {
  const recovery = await chessboardDetector(1);
  const bias = { dtype: 'F32', shape: [4], data: Float32Array.of(0, -10, -10, 1) } as const;
  const generous = { ...recovery, weights: new Map([...recovery.weights, ['logits/bias', bias]]) };
  expect(await worksAnywhere(generous, checks, randomSource(1, 'test'))).toBe(false);
});
