/** Figures and tables as calm text for a terminal. */
import type { Estimate } from '../../src/metrics.ts';
import { guardNodes } from '../../src/network/cuts.ts';
import type { Network } from '../../src/network/network.ts';

/** A rate 0..1 as a percentage with one decimal. */
export const percent = (rate: number): string => `${(100 * rate).toFixed(1)} %`;

/** A rate with its 95 % interval. */
export const interval = ({ rate, low, high }: Estimate): string =>
  `${percent(rate)} (${(100 * low).toFixed(1)} to ${(100 * high).toFixed(1)})`;

/** A number of things, `1 trigger` or `2 triggers`. */
export const counted = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`;

/** `flat`, or `stage1 and, in the victim, at flat`: where a guard watches. */
export const placesOf = (network: Network, cut: string): string =>
  guardNodes(network, cut).join(' and, in the victim, at ');

/** Rows as columns of equal width, two spaces apart, indented by two. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, column) => (widths[column] = Math.max(widths[column] ?? 0, cell.length)));
  const lines = rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column]!)).join('  '));
  return lines.map((line) => `  ${line}`.trimEnd()).join('\n');
}

/** Sentences as a list; each is broken at spaces to lines of at most 100 characters. */
export function list(sentences: readonly string[], indent = '  '): string {
  return sentences.map((sentence) => wrapped(sentence, `${indent}- `, `${indent}  `)).join('\n');
}

function wrapped(sentence: string, first: string, further: string): string {
  const lines = [first];
  for (const word of sentence.split(' ')) {
    const line = lines.at(-1)!;
    const fresh = line === first || line === further;
    if (!fresh && line.length + 1 + word.length > 100) lines.push(further + word);
    else lines[lines.length - 1] = fresh ? line + word : `${line} ${word}`;
  }
  return lines.join('\n');
}
