import { expect, test } from 'vitest';
import { smallCnn } from '../../offline/attack/small-cnn.ts';
import { distinctCuts } from '../../offline/unlearn/cut.ts';
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
