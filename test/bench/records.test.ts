/** The committed records of the grids, as far as they have been made: what the README says of the bench is what they hold. */
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { GRIDS, planCells, type GridName } from '../../offline/bench/defense/grid.ts';
import { loadRecord, type BenchRecord } from '../../offline/bench/defense/record.ts';
import { isBackdoor } from '../../offline/scan.ts';

const DOCS = join(import.meta.dirname, '..', '..', 'docs');
const PLANTED = new Set(['badnets-3', 'trojannn', 'imc', 'blended', 'additive']);

/** Victims that the README says are missed. */
const MISSED = new Set(['digits imc 2', 'digits imc 5']);

/** Clean networks that docs/BENCH.md says are called infected, and the label. */
const FALSELY_CALLED = new Map([['colour-trained 1', [4]]]);

type DefenseRecord = Extract<BenchRecord, { kind: 'defense' }>;

const RECORDED = ['small', 'digits', 'colour', 'colour-trained'] as const satisfies GridName[];
type Recorded = (typeof RECORDED)[number];
const records: Record<Recorded, BenchRecord[]> = { small: [], digits: [], colour: [], 'colour-trained': [] };

beforeAll(async () => {
  for (const grid of RECORDED) {
    for (const cell of planCells(GRIDS[grid])) {
      const record = await loadRecord(join(DOCS, `bench-${grid}`), cell);
      if (!record.ok) throw new Error(record.error);
      if (record.value) records[grid].push(record.value);
    }
  }
});

const defended = (grid: Recorded, method: string): DefenseRecord[] =>
  records[grid].flatMap((record) => {
    return record.kind === 'defense' && record.cell.method === method && PLANTED.has(record.cell.attack)
      ? [record]
      : [];
  });

describe.each(RECORDED)('the committed records of the grid %s', (grid) => {
  test('name the planted label a backdoor, and no other, for every planted victim that the README does not call missed', () => {
    const ours = defended(grid, 'ours');
    expect(ours.length).toBeGreaterThan(0);
    for (const { findings, victim, cell } of ours) {
      const target = victim.card.kind === 'none' ? undefined : victim.card.targetLabel;
      const named = findings!.filter(isBackdoor).map(({ targetLabel }) => targetLabel);
      const subject = `${grid} ${cell.attack} ${cell.seed}`;
      expect(named, subject).toEqual(MISSED.has(subject) ? [] : [target]);
    }
  });

  test('call no clean model infected that the documents do not name', () => {
    const clean = records[grid].filter(({ cell }) => cell.attack === 'none');
    expect(clean.length).toBeGreaterThan(0);
    for (const { findings, cell } of clean) {
      const subject = `${grid} ${cell.seed}`;
      const named = findings!.filter(isBackdoor).map(({ targetLabel }) => targetLabel);
      expect(named, subject).toEqual(FALSELY_CALLED.get(subject) ?? []);
    }
  });
});

describe('the committed records of the grid small', () => {
  test('have ours above every other defence in mean effectiveness on the victims that every one met, and the paper’s method no more than a thousandth below the next', () => {
    const methods = [...new Set(records.small.flatMap(({ kind, cell }) => (kind === 'defense' ? [cell.method] : [])))];
    const digestsOf = (method: string): Set<string> =>
      new Set(defended('small', method).map(({ victim }) => victim.digest));
    const met = methods.map(digestsOf).reduce((all, own) => new Set([...all].filter((digest) => own.has(digest))));
    expect(met.size).toBeGreaterThanOrEqual(5);
    const order = methods
      .map((method) => {
        const own = defended('small', method).filter(({ victim }) => met.has(victim.digest));
        return { method, mean: own.reduce((sum, { der }) => sum + der!, 0) / own.length };
      })
      .toSorted((a, b) => b.mean - a.mean);
    expect(order[0]!.method).toBe('ours');
    expect(order.find(({ method }) => method === 'baeraser')!.mean).toBeGreaterThan(order[1]!.mean - 0.001);
  });
});
