/** Records as tables: for a terminal, and as one page of HTML that needs nothing else. */
import { html, raw } from 'hono/html';
import { targetLabels } from '../../attack/attack.ts';
import { DEFENSES } from '../../baseline/defense.ts';
import { DETECTORS } from '../../baseline/detector.ts';
import { BALANCE_VARIANTS, STEP_VARIANTS } from '../../baseline/variants.ts';
import { mean } from '../../mean.ts';
import { isBackdoor } from '../../scan.ts';
import { percent, table } from '../../report/text.ts';
import { subjectName } from './grid.ts';
import type { BenchRecord } from './record.ts';

type Html = ReturnType<typeof html>;
type DefenseRecord = Extract<BenchRecord, { kind: 'defense' }>;
type DetectorRecord = Extract<BenchRecord, { kind: 'detector' }>;
/** A table with a title; the first row is its head. */
export type Section = { title: string; rows: string[][] };

const NONE = '–';
/** One figure of several records, where they have it. */
const over = (values: readonly (number | null)[], show: (values: number[]) => string): string => {
  const present = values.filter((value) => value !== null);
  return present.length ? show(present) : NONE;
};
const meanPercent = (values: readonly (number | null)[]): string => over(values, (present) => percent(mean(present)));
const meanPoints = (values: readonly number[]): string => (100 * mean(values)).toFixed(1);
const worstPoints = (values: readonly number[]): string => (100 * Math.min(...values)).toFixed(1);
const secondsOf = (records: readonly BenchRecord[]): string =>
  mean(records.map(({ seconds, recoverySeconds }) => seconds + (recoverySeconds ?? 0))).toFixed(0);

/**
 * All tables: each surrounding's defences and detectors, means over the seeds, after one over all of them, and one over those that every method
 * met, in which alone methods compare.
 */
export function sections(records: readonly BenchRecord[]): Section[] {
  const surroundings = Map.groupBy(records, ({ cell: { data, architecture, attack, cleanCount } }) =>
    [data, architecture, attack, `${cleanCount} clean images`].join(', '),
  );
  const met = metByAll(records);
  const overall = [
    ...(met.length && met.length < records.length ? [['met by every method', met] as const] : []),
    ...(surroundings.size > 1 ? [['all together', [...records]] as const] : []),
  ];
  const groups = [...overall, ...surroundings];
  return groups.flatMap(([name, group]) => [
    ...section(`Defences: ${name}`, DEFENSE_HEAD, defenses(group), defenseRow),
    ...section(`Detectors: ${name}`, DETECTOR_HEAD, detectors(group), detectorRow),
  ]);
}

/** The records of victims that every method has one of. */
function metByAll(records: readonly BenchRecord[]): BenchRecord[] {
  const methods = new Set(records.map(({ cell }) => cell.method));
  return [...Map.groupBy(records, ({ cell }) => subjectName(cell)).values()]
    .filter((group) => group.length === methods.size)
    .flat();
}

const defenses = (records: readonly BenchRecord[]): DefenseRecord[] =>
  records.filter(({ kind }) => kind === 'defense') as DefenseRecord[];
const detectors = (records: readonly BenchRecord[]): DetectorRecord[] =>
  records.filter(({ kind }) => kind === 'detector') as DetectorRecord[];

function section<Row extends BenchRecord>(
  title: string,
  head: string[],
  records: readonly Row[],
  rowOf: (method: string, records: readonly Row[]) => string[],
): Section[] {
  if (!records.length) return [];
  const byMethod = Map.groupBy(records, ({ cell }) => cell.method);
  return [{ title, rows: [head, ...[...byMethod].map(([method, own]) => rowOf(method, own))] }];
}

const DEFENSE_HEAD = [
  'defence',
  'runs',
  'right label found',
  'wrong label found',
  'attack success before',
  'after',
  'worst',
  'accuracy before',
  'change, points',
  'worst',
  'robust accuracy',
  'highest hit rate',
  'target recall, change in points',
  'worst',
  'DER',
  'seconds',
];

function defenseRow(method: string, records: readonly DefenseRecord[]): string[] {
  const [before, after] = [records.map((record) => record.before), records.map((record) => record.after)];
  const success = after.map(({ attackSuccessRate }) => attackSuccessRate);
  const accuracy = after.map(({ cleanAccuracy }, index) => cleanAccuracy - before[index]!.cleanAccuracy);
  const recall = after.flatMap(({ targetRecall }, index) => {
    const start = before[index]!.targetRecall;
    return targetRecall === null || start === null ? [] : [targetRecall - start];
  });
  return [
    method,
    `${records.length}`,
    ...foundLabels(records),
    meanPercent(before.map(({ attackSuccessRate }) => attackSuccessRate)),
    meanPercent(success),
    over(success, (present) => percent(Math.max(...present))),
    meanPercent(before.map(({ cleanAccuracy }) => cleanAccuracy)),
    over(accuracy, meanPoints),
    over(accuracy, worstPoints),
    meanPercent(after.map(({ robustAccuracy }) => robustAccuracy)),
    meanPercent(after.map(({ highestHitRate }) => highestHitRate)),
    over(recall, meanPoints),
    over(recall, worstPoints),
    over(
      records.map(({ der }) => der),
      (present) => mean(present).toFixed(3),
    ),
    secondsOf(records),
  ];
}

/** In how many scans all labels of the attacker were graded backdoors, and in how many another one was. */
function foundLabels(records: readonly DefenseRecord[]): string[] {
  const scans = records.flatMap(({ findings, victim: { card } }) => {
    if (!findings) return [];
    const found = findings.filter(isBackdoor).map(({ targetLabel }) => targetLabel);
    const targets = card.kind === 'none' ? [] : targetLabels(card);
    // Where the target depends on the image, every label is one.
    const every = targets.includes(null);
    const right =
      targets.length > 0 && targets.every((target) => (target === null ? found.length > 0 : found.includes(target)));
    return [{ attacked: targets.length > 0, right, wrong: !every && found.some((label) => !targets.includes(label)) }];
  });
  const attacked = scans.filter((scan) => scan.attacked);
  return [
    attacked.length ? `${attacked.filter(({ right }) => right).length} of ${attacked.length}` : NONE,
    scans.length ? `${scans.filter(({ wrong }) => wrong).length} of ${scans.length}` : NONE,
  ];
}

const DETECTOR_HEAD = [
  'detector',
  'runs',
  'AUROC',
  'true positives at 0.5 % false ones',
  'at 0.1 %',
  'measured false positives',
  'within their bound',
  'forward passes',
  'seconds',
];

function detectorRow(method: string, records: readonly DetectorRecord[]): string[] {
  const promised = records.flatMap((record) => record.promised ?? []);
  const kept = promised.filter(
    ({ measuredFalsePositiveRate, falsePositiveBound }) => measuredFalsePositiveRate <= falsePositiveBound,
  );
  return [
    method,
    `${records.length}`,
    mean(records.map(({ auroc }) => auroc)).toFixed(4),
    ...[0, 1].map((index) => meanPercent(records.map(({ truePositives }) => truePositives[index]?.rate ?? null))),
    meanPercent(promised.map(({ measuredFalsePositiveRate }) => measuredFalsePositiveRate)),
    promised.length ? `${kept.length} of ${promised.length}` : NONE,
    `${Number(mean(records.map(({ forwardPasses }) => forwardPasses)).toFixed(2))}`,
    secondsOf(records),
  ];
}

/** The tables for a terminal. */
export const asText = (records: readonly BenchRecord[]): string =>
  sections(records)
    .map(({ title, rows }) => `${title}\n${table(rows)}`)
    .join('\n\n');

/** The tables as one page. */
export async function asHtml(records: readonly BenchRecord[], title: string): Promise<string> {
  const row = (cells: readonly string[], tag: 'td' | 'th'): Html =>
    html`<tr>
      ${cells.map((cell) => (tag === 'td' ? html`<td>${cell}</td>` : html`<th>${cell}</th>`))}
    </tr>`;
  const tables = sections(records).map(({ title, rows: [head, ...rest] }) => {
    return html`<h2>${title}</h2>
      <table>
        <thead>
          ${row(head!, 'th')}
        </thead>
        <tbody>
          ${rest.map((cells) => row(cells, 'td'))}
        </tbody>
      </table>`;
  });
  const page = await html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width" />
        <title>${title}</title>
        <style>
          ${raw(STYLE)}
        </style>
      </head>
      <body>
        <h1>${title}</h1>
        <p>
          Means over ${records.length} records. Rates are on images that neither the victim nor the defender has seen;
          seconds include recovering triggers where a method needs them.
        </p>
        ${tables}
        <h2>Methods</h2>
        <dl>${methods(records)}</dl>
      </body>
    </html> `;
  return page.toString();
}

/** Where each method of the records comes from, and where it differs. */
function methods(records: readonly BenchRecord[]): Html[] {
  const used = new Set(records.map(({ cell }) => cell.method));
  return [...DEFENSES, ...STEP_VARIANTS, ...BALANCE_VARIANTS, ...DETECTORS]
    .filter(({ name }) => used.has(name))
    .map(({ name, source, differs }) => {
      return html`<dt>${name}</dt>
        <dd>${[`${source}.`, ...differs].join(' ')}</dd>`;
    });
}

const STYLE = `
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 78rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2.5rem; }
table { border-collapse: collapse; display: block; overflow-x: auto; font-variant-numeric: tabular-nums; }
th, td { padding: 0.3rem 0.7rem; text-align: right; border-bottom: 1px solid #8884; white-space: nowrap; }
th { font-weight: 600; white-space: normal; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; }
dt { font-weight: 600; margin-top: 0.7rem; } dd { margin: 0; max-width: 60rem; }
`;
