/** The figures of the load bench, and the bars that they are held against. */
import type { GuardCost } from '../../demo/http.ts';
import { table } from '../../report/text.ts';
import { quantile, type Tally } from './load.ts';
import { growth, type Sample } from './memory.ts';

export type Measured = Omit<Tally, 'unexpected' | 'releases'> & {
  minutes: number;
  /** Unexpected answers by `planned status > status`. */
  unexpected: Record<string, number>;
  published: number;
  releasesThatAnswered: number;
  alertsStored: number;
  requestsCounted: number;
  memory: Sample[];
  /** The samples of the part in which nothing is killed. */
  judgedMemory: Sample[];
  coldMs: number;
  warmMs: number;
  guardCost: GuardCost;
};

export type Bar = { name: string; value: number; limit: number; holds: boolean };

/** The bars. A kill may cut off what was asked and stored at that moment, one request of each client; only more counts as lost or doubled. */
export function judge(measured: Measured): Bar[] {
  const { latenciesMs, matches, alertsStored, classified, requestsCounted, cutByKill } = measured;
  const beyond = (excess: number): number => Math.max(0, excess - cutByKill);
  const atMost = (name: string, value: number, limit: number): Bar => ({ name, value, limit, holds: value <= limit });
  const median = quantile(latenciesMs, 0.5);
  return [
    atMost('requests lost', measured.lost, 0),
    atMost('answers doubled', measured.doubled, 0),
    atMost('requests counted beyond those answered', beyond(requestsCounted - classified), 0),
    atMost('alerts lost', beyond(matches - alertsStored), 0),
    atMost('alerts doubled', beyond(alertsStored - matches), 0),
    atMost(
      'unexpected answers',
      Object.values(measured.unexpected).reduce((sum, count) => sum + count, 0),
      0,
    ),
    atMost('answers that changed', measured.changed, 0),
    atMost('p99 of classify, times its median', quantile(latenciesMs, 0.99) / median, 4),
    atMost('guarded, times unguarded', measured.guardCost.ratio, 1.05),
    atMost('memory growth where nothing is killed, %', 100 * growth(measured.judgedMemory), 5),
    atMost('cold start above warm, ms', measured.coldMs - measured.warmMs, 150),
  ];
}

/** The figures and bars as text. */
export function asText(measured: Measured, bars: readonly Bar[]): string {
  const { minutes, sent, answered, cutByKill, classified, latenciesMs, memory } = measured;
  const milliseconds = (share: number): string => `${quantile(latenciesMs, share).toFixed(2)} ms`;
  const unexpected = Object.entries(measured.unexpected).map(([statuses, count]) => `${count} x ${statuses}`);
  const rows = [
    ['requests', `${sent} sent, ${answered} answered, ${(answered / minutes / 60).toFixed(0)} a second`],
    ['cut off by kills', `${cutByKill}, each sent again until it was answered`],
    [
      'classified',
      `${classified}, by ${measured.releasesThatAnswered} releases; the worker counted ${measured.requestsCounted}`,
    ],
    ['alerts', `${measured.matches} matches told, ${measured.alertsStored} alerts stored`],
    ['unexpected', unexpected.join(', ') || 'none'],
    [
      'classify',
      `p50 ${milliseconds(0.5)}, p90 ${milliseconds(0.9)}, p99 ${milliseconds(0.99)}, longest ${milliseconds(1)}`,
    ],
    ['memory of workerd', `${Array.from({ length: 9 }, (_, part) => memoryAt(memory, part / 8)).join(' ')} MB`],
    [
      'cold start',
      `${measured.coldMs.toFixed(0)} ms to the first classification, warm ${measured.warmMs.toFixed(1)} ms`,
    ],
    [
      'guard',
      `${measured.guardCost.guardedMs.toFixed(2)} ms guarded, ${measured.guardCost.unguardedMs.toFixed(2)} ms not`,
    ],
  ];
  const held = bars.map(({ name, value, limit, holds }) => [
    holds ? 'holds' : 'FAILS',
    name,
    value.toFixed(Number.isInteger(value) ? 0 : 3),
    `at most ${limit}`,
  ]);
  return `${table(rows)}\n\n${table(held)}`;
}

const memoryAt = (samples: readonly Sample[], share: number): string =>
  samples[Math.round(share * (samples.length - 1))]!.megabytes.toFixed(0);
