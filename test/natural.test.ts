import { beforeAll, expect, test } from 'vitest';
import { openEngine, type Engine } from '../offline/engine/engine.ts';
import { strengthOf, UNUSUAL_TRANSFER, weighTriggers } from '../offline/grade.ts';
import { trainReference, weighNatural } from '../offline/natural.ts';
import { screenSmall, splitClean, type Recovery } from '../offline/recover/screening.ts';
import { plantBackdoor } from './support/planted.ts';

const LABELS = [0, 1, 2, 3];
const silent = (): void => {};

let engine: Engine;
beforeAll(async () => {
  const opened = await openEngine('wasm');
  if (!opened.ok) throw new Error(opened.error);
  engine = opened.value;
});

test.each([1, 2, 3])(
  'the label of a planted trigger is the one that is stronger beside the reference’s own trigger for it than all others, and carries the reference less far (seed %i)',
  async (seed) => {
    const { model, clean, trueTrigger } = await plantBackdoor(seed);
    const recovery: Recovery = { ...model, split: splitClean(clean, seed), seed, engine };
    const reference = await trainReference(recovery);
    const weighed = await weighTriggers(recovery, reference, await screenSmall(recovery, LABELS, silent));
    const natural = await weighNatural(recovery, reference, LABELS, silent);
    const beyond = LABELS.map((label) => strengthOf(weighed.get(label)!) - strengthOf(natural.get(label)!));
    const { targetLabel } = trueTrigger;
    expect(beyond.indexOf(Math.max(...beyond))).toBe(targetLabel);
    expect(weighed.get(targetLabel)!.transfer!).toBeLessThan(UNUSUAL_TRANSFER * natural.get(targetLabel)!.transfer!);
  },
);
