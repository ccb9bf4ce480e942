/** What a scan found, for people and as JSON. */
import type { Finding, Scan } from '../scan.ts';
import { counted, list } from './text.ts';

const grades = ['backdoor', 'natural shortcut'] as const;

/** A scan without its images of triggers; grades, evidence and figures as they are. */
export function scanJson({ findings, screenings, limits }: Scan, labelNames: readonly string[]) {
  return {
    findings: findings.map(({ targetLabel, pool, ...graded }) => ({
      targetLabel,
      targetLabelName: labelNames[targetLabel]!,
      ...graded,
      triggers: pool.map(({ form, norm, hitRate }) => ({ form, norm, hitRate })),
    })),
    screenings,
    limits,
  };
}

/** The findings, the gravest first, each with its evidence, and what the scan could not rule out. */
export function formatScan({ findings, limits }: Scan, labelNames: readonly string[]): string {
  return [
    `Found: ${formatGrades(findings)}.`,
    ...gravestFirst(findings).flatMap((finding) => ['', formatFinding(finding, labelNames)]),
    '',
    'What this scan cannot rule out:',
    list(limits),
  ].join('\n');
}

/** How many findings there are of each grade. */
export function formatGrades(findings: readonly Finding[]): string {
  const parts = grades.flatMap((grade) => {
    const count = findings.filter((finding) => finding.grade === grade).length;
    return count ? [counted(count, grade)] : [];
  });
  return parts.join(' and ') || 'nothing';
}

/** Backdoors before natural shortcuts. */
export const gravestFirst = (findings: readonly Finding[]): Finding[] =>
  grades.flatMap((grade) => findings.filter((finding) => finding.grade === grade));

const formatFinding = ({ targetLabel, grade, evidence }: Finding, labelNames: readonly string[]): string =>
  `${grade.toUpperCase()} towards label ${targetLabel} (${labelNames[targetLabel]!})\n${list(evidence)}`;
