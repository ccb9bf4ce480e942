/** The committed records of the grids, as far as they have been made: what the README says of the bench is what they hold. */
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { GRIDS, planCells } from '../../offline/bench/defense/grid.ts';
import { loadRecord, type BenchRecord } from '../../offline/bench/defense/record.ts';
import { isBackdoor } from '../../offline/scan.ts';

const DIRECTORY = join(import.meta.dirname, '..', '..', 'docs', 'bench-small');
const PLANTED = new Set(['badnets-3', 'trojannn', 'imc', 'blended', 'additive']);

type DefenseRecord = Extract<BenchRecord, { kind: 'defense' }>;

describe('the committed records of the grid small', () => {
  let records: BenchRecord[];
  const defended = (method: string): DefenseRecord[] =>
    records.flatMap((record) => {
      return record.kind === 'defense' && record.cell.method === method && PLANTED.has(record.cell.attack)
        ? [record]
        : [];
    });

  beforeAll(async () => {
    records = [];
    for (const cell of planCells(GRIDS.small)) {
      const record = await loadRecord(DIRECTORY, cell);
      if (!record.ok) throw new Error(record.error);
      if (record.value) records.push(record.value);
    }
  });

  test('name the planted label a backdoor for every planted victim', () => {
    expect(defended('ours').length).toBeGreaterThan(0);
    for (const { findings, victim, cell } of defended('ours')) {
      const target = victim.card.kind === 'none' ? undefined : victim.card.targetLabel;
      const named = findings!.filter(isBackdoor).map(({ targetLabel }) => targetLabel);
      expect(named, `${cell.attack} ${cell.seed}`).toContain(target);
    }
  });

  test('have ours above every other defence in mean effectiveness on the victims that every one met, and the paper’s method no more than a thousandth below the next', () => {
    const methods = [...new Set(records.flatMap(({ kind, cell }) => (kind === 'defense' ? [cell.method] : [])))];
    const digestsOf = (method: string): Set<string> => new Set(defended(method).map(({ victim }) => victim.digest));
    const met = methods.map(digestsOf).reduce((all, own) => new Set([...all].filter((digest) => own.has(digest))));
    expect(met.size).toBeGreaterThanOrEqual(5);
    const order = methods
      .map((method) => {
        const own = defended(method).filter(({ victim }) => met.has(victim.digest));
        return { method, mean: own.reduce((sum, { der }) => sum + der!, 0) / own.length };
      })
      .toSorted((a, b) => b.mean - a.mean);
    expect(order[0]!.method).toBe('ours');
    expect(order.find(({ method }) => method === 'baeraser')!.mean).toBeGreaterThan(order[1]!.mean - 0.001);
  });

  test('call no clean model infected', () => {
    const clean = records.filter(({ cell }) => cell.attack === 'none');
    expect(clean.length).toBeGreaterThan(0);
    expect(clean.filter(({ findings }) => findings!.some(isBackdoor))).toEqual([]);
  });
});
