/** The alerts object: a table of alerts in SQLite, repeats counted on one row. */
import { DurableObject } from 'cloudflare:workers';
import { dedupeKey, recordAlert, severity, type Alert, type AlertRecord } from '../src/alert.ts';
import type { Env, Waiter } from './env.ts';

/** How many alerts are kept; the oldest go first. */
const ROW_LIMIT = 10_000;

type Row = { id: number; count: number; firstSeenMs: number; lastSeenMs: number; alert: string };
export type StoredAlert = AlertRecord & { id: number };

const COLUMNS = 'id, count, first_seen_ms AS firstSeenMs, last_seen_ms AS lastSeenMs, alert';

const stored = ({ alert, ...row }: Row): StoredAlert => ({ ...row, alert: JSON.parse(alert) as Alert });

export class AlertsObject extends DurableObject<Env> {
  readonly #sql: SqlStorage;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#sql = ctx.storage.sql;
    this.#sql.exec(`
      CREATE TABLE IF NOT EXISTS alerts (
        id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, count INTEGER NOT NULL,
        first_seen_ms INTEGER NOT NULL, last_seen_ms INTEGER NOT NULL, alert TEXT NOT NULL);
      CREATE INDEX IF NOT EXISTS alerts_by_key ON alerts (key, id);`);
  }

  /** Stores alerts of this moment. */
  record(alerts: readonly Alert[]): void {
    const now = Date.now();
    for (const alert of alerts) this.#recordOne(alert, now);
  }

  #recordOne(alert: Alert, now: number): void {
    const key = dedupeKey(alert);
    const latest = this.#sql.exec<Row>(`SELECT ${COLUMNS} FROM alerts WHERE key = ? ORDER BY id DESC LIMIT 1`, key);
    const [row] = latest.toArray();
    const previous = row && stored(row);
    const record = recordAlert(previous, alert, now);
    if (record === previous) return;
    const { count, firstSeenMs, lastSeenMs } = record;
    const details = JSON.stringify(alert);
    if (row && count > 1) {
      this.#sql.exec(
        'UPDATE alerts SET count = ?, last_seen_ms = ?, alert = ? WHERE id = ?',
        count,
        lastSeenMs,
        details,
        row.id,
      );
      return;
    }
    const { id } = this.#sql
      .exec<{ id: number }>(
        'INSERT INTO alerts (key, count, first_seen_ms, last_seen_ms, alert) VALUES (?, ?, ?, ?, ?) RETURNING id',
        key,
        count,
        firstSeenMs,
        lastSeenMs,
        details,
      )
      .one();
    this.#sql.exec('DELETE FROM alerts WHERE id <= ?', id - ROW_LIMIT);
  }

  /** Up to `limit` alerts, newest first, older than the one whose id is `cursor`. */
  list(limit: number, cursor?: number): StoredAlert[] {
    const before = cursor ?? Number.MAX_SAFE_INTEGER;
    return this.#sql
      .exec<Row>(`SELECT ${COLUMNS} FROM alerts WHERE id < ? ORDER BY id DESC LIMIT ?`, before, limit)
      .toArray()
      .map(stored);
  }
}

const alertsObject = (env: Env) => env.ALERTS.get(env.ALERTS.idFromName('alerts'));

/** Stores alerts; rejects when they could not be stored. */
export async function storeAlerts(env: Env, alerts: readonly Alert[]): Promise<void> {
  await alertsObject(env).record(alerts);
}

/** Stores alerts without making the request wait; those that cannot be stored are logged whole. */
export function raise(env: Env, waiter: Waiter, alerts: readonly Alert[]): void {
  const store = async (): Promise<void> => {
    try {
      await storeAlerts(env, alerts);
    } catch (error) {
      console.error(JSON.stringify({ event: 'alert_not_stored', error: String(error), alerts }));
    }
  };
  waiter.waitUntil(store());
}

/** One page of alerts and the cursor of the next. */
export async function readAlerts(env: Env, limit: number, cursor?: number) {
  const page = await alertsObject(env).list(limit, cursor);
  return {
    alerts: page.map(({ id, alert, count, firstSeenMs, lastSeenMs }) => ({
      id,
      severity: severity(alert),
      count,
      firstSeen: new Date(firstSeenMs).toISOString(),
      lastSeen: new Date(lastSeenMs).toISOString(),
      alert,
    })),
    cursor: page.length === limit ? page.at(-1)!.id : null,
  };
}
