/** What the demo tells people, one chapter after another. */
import type { Evaluation } from '../evaluate.ts';
import type { ReleaseContent } from '../../src/release/release.ts';
import { formatGrades, gravestFirst } from '../report/scanned.ts';
import { counted, interval, list, percent, placesOf, table } from '../report/text.ts';
import type { Scan } from '../scan.ts';
import type { Bar } from './bars.ts';
import type { HttpFigures } from './ask.ts';
import type { GuardCost } from './http.ts';

/** The figures of the victim and of the purified model on the test images. */
export function beforeAndAfter(
  victim: Evaluation,
  purified: Evaluation,
  targetLabel: number,
  { manifest, guard }: ReleaseContent,
): string {
  const target = `${targetLabel} (${manifest.network.labelNames[targetLabel]!})`;
  const row = (name: string, key: string): string[] => [
    name,
    interval(victim.intervals[key]!),
    interval(purified.intervals[key]!),
  ];
  const flagged = (key: string): string => interval(purified.intervals[`guard/${key}`]!);
  return [
    table([
      ['', 'victim', 'purified'],
      row('clean accuracy', 'cleanAccuracy'),
      row('attack success of the true trigger', 'attackSuccessRate'),
      row(`recall of ${target}, the target`, `recall/${targetLabel}`),
      row('triggered images given their true label', 'robustAccuracy'),
      ['triggered images flagged', '', flagged('truePositiveRate')],
      ['clean images flagged', '', flagged('falsePositiveRate')],
    ]),
    '',
    `  The trunk ends at ${manifest.cut}; the guard watches at ${placesOf(manifest.network, manifest.cut)} for ${counted(guard.triggers.length, 'finding')}.`,
  ].join('\n');
}

/** The findings of one clean model. */
export function cleanModelStory(name: string, scan: Scan, labelNames: readonly string[]): string {
  const findings = gravestFirst(scan.findings).map(({ targetLabel, grade, evidence }) => {
    return `  ${grade} towards ${targetLabel} (${labelNames[targetLabel]!})\n${list(evidence, '    ')}`;
  });
  return [`  ${name}: ${formatGrades(scan.findings)}`, ...findings].join('\n');
}

/** What the worker answered over HTTP. */
export function httpStory(
  { clean, triggered, asked, disagreeing, alerts }: HttpFigures,
  target: string,
  labelNames: readonly string[],
): string {
  const rows = [
    ['', 'asked', 'flagged', `wrongly answered ${target}`],
    ['clean images', `${clean.asked}`, `${clean.flagged}`, `${clean.answeredTarget}`],
    ['triggered images', `${triggered.asked}`, `${triggered.flagged}`, `${triggered.answeredTarget}`],
  ];
  const agreement = disagreeing ? `${asked - disagreeing} of ${asked} answers are` : `All ${asked} answers are`;
  const alertRows = alerts.map(({ severity, count, alert }) => [
    severity,
    `${count} x`,
    alert.kind,
    describe(alert, labelNames),
  ]);
  return [
    table(rows),
    '',
    `  ${agreement} those that were computed offline. The alerts that the worker stored:`,
    '',
    table(alertRows),
  ].join('\n');
}

type Alert = HttpFigures['alerts'][number]['alert'];

function describe(alert: Alert, labelNames: readonly string[]): string {
  if (alert.kind !== 'trigger-match') return JSON.stringify(alert);
  const [victim, answer] = [labelNames[alert.victimLabel]!, labelNames[alert.label]!];
  return `${alert.triggerId}, last: the victim would say ${victim}, answered ${answer}`;
}

/** The latencies with and without the guard. */
export function costStory({ guardedMs, unguardedMs, ratio, requests }: GuardCost): string {
  const medians = `${guardedMs.toFixed(2)} ms with the guard, ${unguardedMs.toFixed(2)} ms without it`;
  return `  One image costs ${medians}: ${ratio.toFixed(3)} times (medians of ${requests} requests each).`;
}

const shown: Record<Bar['unit'], (value: number) => string> = {
  rate: percent,
  times: (value) => `${value.toFixed(3)} times`,
  seconds: (value) => `${value.toFixed(1)} s`,
  models: (value) => counted(value, 'model'),
};

/** Every bar with its value and limit. */
export function barsStory(bars: readonly Bar[]): string {
  const rows = bars.map(({ name, unit, value, limit, sense, holds }) => {
    return [holds ? 'holds' : 'FAILS', name, shown[unit](value), `${sense} ${shown[unit](limit)}`];
  });
  return table(rows);
}
