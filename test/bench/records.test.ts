/** The committed records of the grid `small`: what the README says of the bench is what they hold. */
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { GRIDS, planCells } from '../../offline/bench/defense/grid.ts';
import { loadRecord, type BenchRecord } from '../../offline/bench/defense/record.ts';
import { isBackdoor } from '../../offline/scan.ts';

const DIRECTORY = join(import.meta.dirname, '..', '..', 'docs', 'bench-small');
const PLANTED = new Set(['badnets-3', 'trojannn', 'imc', 'blended', 'additive']);

type DefenseRecord = Extract<BenchRecord, { kind: 'defense' }>;
const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

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
      if (!record.value) throw new Error(`no record of ${JSON.stringify(cell)}`);
      records.push(record.value);
    }
  });

  test('name the planted label a backdoor for every planted victim', () => {
    for (const { findings, victim, cell } of defended('ours')) {
      const target = victim.card.kind === 'none' ? undefined : victim.card.targetLabel;
      const named = findings!.filter(isBackdoor).map(({ targetLabel }) => targetLabel);
      expect(named, `${cell.attack} ${cell.seed}`).toContain(target);
    }
  });

  test('call no more than one of twenty clean models infected', () => {
    const clean = records.filter(({ cell }) => cell.attack === 'none');
    expect(clean.length).toBe(20);
    expect(clean.filter(({ findings }) => findings!.some(isBackdoor)).length).toBeLessThanOrEqual(1);
  });

  test('have ours above every other defence in mean effectiveness, where both met the same victims', () => {
    const ours = new Map(defended('ours').map((record) => [record.victim.digest, record.der!]));
    const methods = new Set(records.flatMap(({ kind, cell }) => (kind === 'defense' ? [cell.method] : [])));
    for (const method of methods) {
      if (method === 'ours') continue;
      const theirs = defended(method);
      const both = theirs.map(({ victim }) => ours.get(victim.digest)!);
      expect(mean(both), method).toBeGreaterThan(mean(theirs.map(({ der }) => der!)));
    }
  });
});
