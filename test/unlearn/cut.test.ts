import { expect, test } from 'vitest';
import { smallCnn } from '../../offline/attack/small-cnn.ts';
import { distinctCuts, orderOf } from '../../offline/unlearn/cut.ts';
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

test('cuts are tried from the latest on, for triggers that work anywhere from the earliest on, and for those of the whole image the latest last', () => {
  const latest = ['flat', 'stage3', 'stage2'];
  expect(orderOf(latest, 'one place')).toEqual(latest);
  expect(orderOf(latest, 'anywhere')).toEqual(['stage2', 'stage3', 'flat']);
  expect(orderOf(latest, 'whole image')).toEqual(['stage3', 'stage2', 'flat']);
  expect(orderOf(['only'], 'whole image')).toEqual(['only']);
});
