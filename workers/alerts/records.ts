/** The alerts of the object in SQLite: one row for each record, repeats counted on it, and silences. */
import { dedupeKey, isRolloutChange, recordAlert, severity, type Alert } from '../../src/alert.ts';
import {
  SILENCE_LIMIT,
  type AlertsQuery,
  type AlertStatus,
  type AlertView,
  type Silence,
  type SilenceRequest,
} from '../../src/api/alerts.ts';
import { count, type Sql } from './counters.ts';

/** How many records are kept; the oldest go first. */
const ROW_LIMIT = 10_000;
/** A key that stays quiet for so long is over. */
const QUIET_MS = 10 * 60_000;

export const RECORDS_SCHEMA = `
  CREATE TABLE IF NOT EXISTS records (
    id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, kind TEXT NOT NULL, severity TEXT NOT NULL,
    count INTEGER NOT NULL, first_seen_ms INTEGER NOT NULL, last_seen_ms INTEGER NOT NULL, alert TEXT NOT NULL,
    silenced INTEGER NOT NULL, lasting INTEGER NOT NULL,
    acknowledged_by TEXT, acknowledged_ms INTEGER, resolved_ms INTEGER);
  CREATE INDEX IF NOT EXISTS records_by_key ON records (key, id);
  CREATE INDEX IF NOT EXISTS unresolved_records ON records (key, last_seen_ms) WHERE resolved_ms IS NULL;
  CREATE TABLE IF NOT EXISTS silences (
    id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT, key TEXT, until_ms INTEGER NOT NULL, actor TEXT NOT NULL,
    created_ms INTEGER NOT NULL, reason TEXT NOT NULL);`;

type Row = {
  id: number;
  key: string;
  count: number;
  firstSeenMs: number;
  lastSeenMs: number;
  alert: string;
  silenced: number;
  acknowledgedBy: string | null;
  acknowledgedMs: number | null;
  resolvedMs: number | null;
  imageRequestId: string | null;
  imageExpiresMs: number | null;
};

const SELECT = `SELECT records.id, key, count, first_seen_ms AS firstSeenMs, last_seen_ms AS lastSeenMs, alert, silenced,
  acknowledged_by AS acknowledgedBy, acknowledged_ms AS acknowledgedMs, resolved_ms AS resolvedMs,
  request_id AS imageRequestId, expires_ms AS imageExpiresMs
  FROM records LEFT JOIN images ON images.id = records.id`;

export const iso = (ms: number): string => new Date(ms).toISOString();

const statusOf = ({ acknowledgedMs, resolvedMs }: Row): AlertStatus => {
  if (resolvedMs !== null) return 'resolved';
  return acknowledgedMs === null ? 'open' : 'acknowledged';
};

function viewOf(row: Row): AlertView {
  const alert = JSON.parse(row.alert) as Alert;
  return {
    id: row.id,
    key: row.key,
    severity: severity(alert),
    status: statusOf(row),
    silenced: row.silenced !== 0,
    count: row.count,
    firstSeen: iso(row.firstSeenMs),
    lastSeen: iso(row.lastSeenMs),
    acknowledged: row.acknowledgedMs === null ? null : { by: row.acknowledgedBy!, at: iso(row.acknowledgedMs) },
    resolvedAt: row.resolvedMs === null ? null : iso(row.resolvedMs),
    image: row.imageRequestId === null ? null : { requestId: row.imageRequestId, expiresAt: iso(row.imageExpiresMs!) },
    alert,
  };
}

/** One record, or undefined when there is none with this id. */
export function recordOf(sql: Sql, id: number): AlertView | undefined {
  const [row] = sql.exec<Row>(`${SELECT} WHERE records.id = ?`, id).toArray();
  return row && viewOf(row);
}

/** Counts an alert on the record of its key, or opens one; undefined when it was told already and nothing changed. */
export function record(sql: Sql, alert: Alert, nowMs: number): { view: AlertView; opened: boolean } | undefined {
  const key = dedupeKey(alert);
  const [row] = sql.exec<Row>(`${SELECT} WHERE key = ? ORDER BY records.id DESC LIMIT 1`, key).toArray();
  const previous = row && { ...row, alert: JSON.parse(row.alert) as Alert };
  const next = recordAlert(previous, alert, nowMs);
  if (next === previous) return undefined;
  count(sql, `alerts ${alert.kind} ${severity(alert)}`);
  const details = JSON.stringify(alert);
  // What comes again after somebody said that it is over is news.
  if (row && next.count > 1 && row.resolvedMs === null) {
    sql.exec(
      'UPDATE records SET count = ?, last_seen_ms = ?, alert = ? WHERE id = ?',
      next.count,
      next.lastSeenMs,
      details,
      row.id,
    );
    return {
      view: viewOf({ ...row, count: next.count, lastSeenMs: next.lastSeenMs, alert: details }),
      opened: false,
    };
  }
  const { id } = sql
    .exec<{ id: number }>(
      `INSERT INTO records (key, kind, severity, count, first_seen_ms, last_seen_ms, alert, silenced, lasting)
       VALUES (?, ?, ?, 1, ?, ?, ?, ?, ?) RETURNING id`,
      key,
      alert.kind,
      severity(alert),
      nowMs,
      nowMs,
      details,
      Number(isSilenced(sql, alert.kind, key, nowMs)),
      Number(isRolloutChange(alert)),
    )
    .one();
  sql.exec('DELETE FROM records WHERE id <= ?', id - ROW_LIMIT);
  return { view: recordOf(sql, id)!, opened: true };
}

/** Up to `limit` records, newest first, older than the one whose id is `cursor`, that fit the filters. */
export function listRecords(sql: Sql, { limit, cursor, kind, severity, status }: AlertsQuery): AlertView[] {
  const states: Record<AlertStatus, string> = {
    open: 'resolved_ms IS NULL AND acknowledged_ms IS NULL',
    acknowledged: 'resolved_ms IS NULL AND acknowledged_ms IS NOT NULL',
    resolved: 'resolved_ms IS NOT NULL',
  };
  return sql
    .exec<Row>(
      `${SELECT} WHERE records.id < ? AND kind = coalesce(?, kind) AND severity = coalesce(?, severity)
       AND ${status ? states[status] : 'TRUE'} ORDER BY records.id DESC LIMIT ?`,
      cursor ?? Number.MAX_SAFE_INTEGER,
      kind ?? null,
      severity ?? null,
      limit,
    )
    .toArray()
    .map(viewOf);
}

/** Notes who takes care of a record, unless somebody does or it is over. Answers whether that changed anything. */
export function acknowledge(sql: Sql, id: number, actor: string, nowMs: number): boolean {
  const update = `UPDATE records SET acknowledged_by = ?, acknowledged_ms = ?
    WHERE id = ? AND acknowledged_ms IS NULL AND resolved_ms IS NULL`;
  return sql.exec(update, actor, nowMs, id).rowsWritten > 0;
}

/** Ends a record and the older ones with its key. Answers whether that changed anything. */
export function resolve(sql: Sql, { id, key }: AlertView, nowMs: number): boolean {
  const update = 'UPDATE records SET resolved_ms = ? WHERE key = ? AND id <= ? AND resolved_ms IS NULL';
  return sql.exec(update, nowMs, key, id).rowsWritten > 0;
}

/** The latest record of each key that has been quiet for long enough; rollouts wait for a person. */
export function quietRecords(sql: Sql, nowMs: number): AlertView[] {
  const latest = `SELECT MAX(id) AS id FROM records WHERE resolved_ms IS NULL AND lasting = 0
    GROUP BY key HAVING MAX(last_seen_ms) <= ? LIMIT 100`;
  const ids = sql.exec<{ id: number }>(latest, nowMs - QUIET_MS).toArray();
  return ids.map(({ id }) => recordOf(sql, id)!);
}

/** When the next key will have been quiet for long enough. */
export function nextQuietMs(sql: Sql): number | undefined {
  const oldest = `SELECT MIN(seen) AS seen FROM (SELECT MAX(last_seen_ms) AS seen FROM records
    WHERE resolved_ms IS NULL AND lasting = 0 GROUP BY key)`;
  const { seen } = sql.exec<{ seen: number | null }>(oldest).one();
  return seen === null ? undefined : seen + QUIET_MS;
}

/** How many records nobody has taken care of, by severity. */
export function openCounts(sql: Sql): { severity: string; count: number }[] {
  return sql
    .exec<{ severity: string; count: number }>(
      `SELECT severity, COUNT(*) AS count FROM records WHERE resolved_ms IS NULL AND acknowledged_ms IS NULL
       GROUP BY severity`,
    )
    .toArray();
}

type SilenceRow = {
  id: number;
  kind: string | null;
  key: string | null;
  untilMs: number;
  actor: string;
  createdMs: number;
  reason: string;
};

function isSilenced(sql: Sql, kind: string, key: string, nowMs: number): boolean {
  const found = sql.exec(
    'SELECT 1 FROM silences WHERE until_ms > ? AND (kind = ? OR key = ?) LIMIT 1',
    nowMs,
    kind,
    key,
  );
  return found.toArray().length > 0;
}

/** The silences that hold; those that ended are forgotten. */
export function silences(sql: Sql, nowMs: number): Silence[] {
  sql.exec('DELETE FROM silences WHERE until_ms <= ?', nowMs);
  return sql
    .exec<SilenceRow>(
      'SELECT id, kind, key, until_ms AS untilMs, actor, created_ms AS createdMs, reason FROM silences ORDER BY id',
    )
    .toArray()
    .map(({ id, kind, key, untilMs, actor, createdMs, reason }) => ({
      id,
      scope: kind === null ? { key: key! } : { kind: kind as Alert['kind'] },
      until: iso(untilMs),
      by: actor,
      createdAt: iso(createdMs),
      reason,
    }));
}

/** Adds a silence; undefined when there are as many as there may be. */
export function silence(sql: Sql, request: SilenceRequest, actor: string, nowMs: number): Silence | undefined {
  if (silences(sql, nowMs).length >= SILENCE_LIMIT) return undefined;
  const { scope, minutes, reason } = request;
  sql.exec(
    'INSERT INTO silences (kind, key, until_ms, actor, created_ms, reason) VALUES (?, ?, ?, ?, ?, ?)',
    'kind' in scope ? scope.kind : null,
    'key' in scope ? scope.key : null,
    nowMs + minutes * 60_000,
    actor,
    nowMs,
    reason,
  );
  return silences(sql, nowMs).at(-1);
}

/** Ends a silence. Answers whether there was one. */
export const endSilence = (sql: Sql, id: number): boolean =>
  sql.exec('DELETE FROM silences WHERE id = ?', id).rowsWritten > 0;
