import { describe, expect, test } from 'vitest';
import { smallCnn } from '../../offline/attack/small-cnn.ts';
import { bestOf, cutsToTry, distinctCuts, holds, type Judged } from '../../offline/unlearn/cut.ts';
import { cutCandidates, headWeightShapes } from '../../src/network/cuts.ts';

const network = smallCnn({ height: 12, width: 12, channels: 1 }, ['a', 'b', 'c']);

test('the cuts of a small CNN free one more layer each, the latest first, each as late as it can be', () => {
  expect(distinctCuts(network)).toEqual(['flat', 'stage3', 'stage2', 'stage1']);
  const heads = distinctCuts(network).map((cut) => headWeightShapes(network, cut).size);
  expect(heads).toEqual([2, 4, 6, 8]);
});

test('no cut is without a head to unlearn, and every head that some cut gives is among them', () => {
  const headOf = (cut: string): string => [...headWeightShapes(network, cut).keys()].join();
  const heads = distinctCuts(network).map(headOf);
  expect(heads).not.toContain('');
  expect(new Set(heads)).toEqual(new Set(cutCandidates(network).map(headOf).filter(Boolean)));
  expect(new Set(heads).size).toBe(heads.length);
});

test('the three latest cuts are tried from the latest on, for triggers that work anywhere from the earliest on, and for those of the whole image the latest last', () => {
  expect(cutsToTry(network, 'one place')).toEqual(['flat', 'stage3', 'stage2']);
  expect(cutsToTry(network, 'anywhere')).toEqual(['stage2', 'stage3', 'flat']);
  expect(cutsToTry(network, 'whole image')).toEqual(['stage3', 'stage2', 'flat']);
});

describe('a cut', () => {
  const good: Judged & { separation: number } = {
    obedience: 0.01,
    confidenceLoss: 0,
    targetConfidenceLoss: 0,
    separation: 1,
    failures: [],
  };
  const refused = { ...good, failures: ['the recall of label 8 falls'] };

  test('holds if its head does not obey, costs little, its probe separates and the gate has nothing against it', () => {
    expect(holds(good)).toBe(true);
    expect(holds({ ...good, obedience: 0.04 })).toBe(false);
    expect(holds({ ...good, confidenceLoss: 0.03 })).toBe(false);
    expect(holds({ ...good, targetConfidenceLoss: 0.06 })).toBe(false);
    expect(holds({ ...good, separation: 0.9 })).toBe(false);
    expect(holds(refused)).toBe(false);
  });

  test('need not separate where that is not asked, as of the parts of a trigger that works anywhere', () => {
    expect(holds({ ...good, separation: null })).toBe(true);
  });

  test('that is tried later must be clearly better, where none holds; one that the gate would refuse comes last', () => {
    const [first, hardly, clearly] = [0.1, 0.07, 0.01].map((obedience) => ({ ...good, obedience }));
    expect(bestOf([first!, hardly!], 150)).toBe(first);
    expect(bestOf([first!, hardly!], 600)).toBe(hardly);
    expect(bestOf([first!, clearly!], 150)).toBe(clearly);
    expect(bestOf([refused, first!], 150)).toBe(first);
    expect(bestOf([first!, refused], 150)).toBe(first);
  });
});
