/** The records over SQLite itself, with instants that a running worker would have to wait for. */
import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import { expect, test } from 'vitest';
import type { Alert } from '../../src/alert.ts';
import { COUNTERS_SCHEMA, type Sql } from '../../workers/alerts/counters.ts';
import { nextQuietMs, quietRecords, record, RECORDS_SCHEMA, resolve, silence } from '../../workers/alerts/records.ts';
import { refused } from './alerts.ts';

/** Which records have an image is joined to them. */
const IMAGES = 'CREATE TABLE images (id INTEGER PRIMARY KEY, request_id TEXT, expires_ms INTEGER);';
const MINUTE_MS = 60_000;

/** The part of the object's SQLite that records use. */
function database(): Sql {
  const sqlite = new DatabaseSync(':memory:');
  sqlite.exec(IMAGES + RECORDS_SCHEMA + COUNTERS_SCHEMA);
  const exec = (query: string, ...values: SQLInputValue[]) => {
    const statement = sqlite.prepare(query);
    const rows = /^\s*(SELECT|INSERT[^;]*RETURNING)/i.test(query) ? statement.all(...values) : undefined;
    const rowsWritten = rows ? 0 : Number(statement.run(...values).changes);
    return { rowsWritten, toArray: () => rows ?? [], one: () => rows![0] };
  };
  return { exec } as unknown as Sql;
}

test('a key is over when it has been quiet for ten minutes, with all of its records', () => {
  const sql = database();
  record(sql, refused(1), 0);
  record(sql, refused(1), 9 * MINUTE_MS);
  const again = record(sql, refused(1), 11 * MINUTE_MS)!.view;
  expect(again.count).toBe(1);
  expect(nextQuietMs(sql)).toBe(21 * MINUTE_MS);
  expect(quietRecords(sql, 21 * MINUTE_MS - 1)).toEqual([]);
  const quiet = quietRecords(sql, 21 * MINUTE_MS);
  expect(quiet.map(({ id }) => id)).toEqual([again.id]);
  expect(resolve(sql, quiet[0]!, 21 * MINUTE_MS)).toBe(true);
  expect(nextQuietMs(sql)).toBeUndefined();
});

test('a change of the rollout waits for a person, however long', () => {
  const sql = database();
  const paused: Alert = { kind: 'rollout-paused', release: 'r', revision: 1, reason: 'inconclusive' };
  expect(record(sql, paused, 0)?.opened).toBe(true);
  expect(record(sql, paused, 60 * MINUTE_MS)).toBeUndefined();
  expect(nextQuietMs(sql)).toBeUndefined();
  expect(quietRecords(sql, 1_000 * MINUTE_MS)).toEqual([]);
});

test('a silence holds for its key and its minutes only', () => {
  const sql = database();
  silence(sql, { scope: { key: 'release-refused/release-1/expiry' }, minutes: 30, reason: '' }, 'operate:me', 0);
  const silenced = (index: number, atMs: number) => record(sql, refused(index), atMs)!.view.silenced;
  expect(silenced(1, 0)).toBe(true);
  expect(silenced(2, 0)).toBe(false);
  expect(silenced(1, 30 * MINUTE_MS)).toBe(false);
});
