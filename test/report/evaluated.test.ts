import { expect, test } from 'vitest';
import { formatEvaluation } from '../../offline/report/evaluated.ts';
import { estimateRate } from '../../src/metrics.ts';

const told = (hits: number, without: number): string => {
  const [highest, natural] = [estimateRate(hits, 1000), estimateRate(without, 1000)];
  return formatEvaluation(
    {
      cleanAccuracy: 0.9,
      perLabelRecall: [0.9, 0.9],
      attackSuccessRate: 0.003,
      highestHitRate: highest.rate,
      highestHitLabel: 1,
      highestHitNaturalRate: natural.rate,
      intervals: { highestHitRate: highest, highestHitNaturalRate: natural },
    },
    ['cat', 'dog'],
  );
};

test('an evaluation says that the attack may have moved when the trigger raises another label by more than 5 points', () => {
  expect(told(90, 20)).toContain('Another label than the target is hit more often (9.0 %): the attack may have moved.');
  expect(told(90, 20)).toMatch(/that label given without a trigger +2\.0 %/);
});

test('an evaluation does NOT say so of a label that images without the trigger get nearly as often', () => {
  expect(told(90, 60)).not.toContain('moved');
});
