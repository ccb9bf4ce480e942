/** The committed records of the grid `small`, as far as they have been made: what the README says of the bench is what they hold. */
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

  test('call no clean model infected', () => {
    const clean = records.filter(({ cell }) => cell.attack === 'none');
    expect(clean.length).toBeGreaterThan(0);
    expect(clean.filter(({ findings }) => findings!.some(isBackdoor))).toEqual([]);
  });
});
