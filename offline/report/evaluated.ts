/** What an evaluation measured, for people. */
import type { Evaluation } from '../evaluate.ts';
import { interval, percent, table } from './text.ts';

/** Every rate with its 95 % interval. */
export function formatEvaluation(evaluation: Evaluation, labelNames: readonly string[]): string {
  const { intervals, highestHitLabel, guard } = evaluation;
  const named = (label: number): string => `${label} (${labelNames[label]!})`;
  const row = (name: string, key: string): string[][] => (intervals[key] ? [[name, interval(intervals[key])]] : []);
  const rows = [
    ...row('clean accuracy', 'cleanAccuracy'),
    ...row('attack success', 'attackSuccessRate'),
    ...row('target given without a trigger', 'naturalRate'),
    ...row('robust accuracy', 'robustAccuracy'),
    ...(highestHitLabel === undefined
      ? []
      : [
          ...row(`highest hit rate, label ${named(highestHitLabel)}`, 'highestHitRate'),
          ...row('that label given without a trigger', 'highestHitNaturalRate'),
        ]),
    ...labelNames.flatMap((_, label) => row(`recall of ${named(label)}`, `recall/${label}`)),
    ...row('flagged clean images', 'guard/falsePositiveRate'),
    ...row('flagged triggered images', 'guard/truePositiveRate'),
    ...(guard?.auroc === undefined ? [] : [['AUROC of the guard', guard.auroc.toFixed(4)]]),
    ...(guard ? [['threshold of the guard', guard.threshold.toFixed(3)]] : []),
  ];
  return `With 95 % intervals:\n${table(rows)}${evaluation.attackSuccessRate === undefined ? '' : attackNote(evaluation)}`;
}

/** By how much a trigger must raise the rate of a label for a warning. */
const MOVED_POINTS = 5;

function attackNote({ attackSuccessRate = 0, highestHitRate = 0, highestHitNaturalRate = 0 }: Evaluation): string {
  const raisedPoints = 100 * (highestHitRate - highestHitNaturalRate);
  return highestHitRate > attackSuccessRate && raisedPoints > MOVED_POINTS
    ? `\nAnother label than the target is hit more often (${percent(highestHitRate)}): the attack may have moved.`
    : '';
}
