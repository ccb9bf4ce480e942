import { expect, test } from 'vitest';
import { interval, list, table } from '../../offline/report/text.ts';

test('a rate is shown with its interval in percent', () => {
  expect(interval({ rate: 0.912, low: 0.9001, high: 0.93, sampleSize: 100 })).toBe('91.2 % (90.0 to 93.0)');
});

test('columns are as wide as their widest cell, without blanks at the end', () => {
  expect(
    table([
      ['', 'before', ''],
      ['accuracy', '9', 'after'],
    ]),
  ).toBe('            before\n  accuracy  9       after');
});

test('long sentences are broken at spaces and keep every word; a word that is too long stays whole', () => {
  const long = 'x'.repeat(120);
  const sentence = `${'word '.repeat(40)}${long} end`;
  const lines = list([sentence, 'short']).split('\n');
  expect(lines.filter((line) => line.startsWith('  - '))).toHaveLength(2);
  expect(lines.every((line) => line.length <= 100 || line.trim() === long)).toBe(true);
  expect(
    lines
      .slice(0, -1)
      .map((line) => line.slice(4))
      .join(' '),
  ).toBe(sentence);
});
