/**
 * What sinks have still to be told, in SQLite: a queue for each sink, sent in order, one at a time. A notification leaves the queue when
 * the sink took it (2xx) or said that it never will; until then it is tried again with longer and longer waits. Each sink has its
 * own wait, so that one that is down or slow does not hold up the others.
 */
import { outcomeOf, retryDelayMs } from '../../src/alert/retry.ts';
import { sinkRequest, wants, type Hmac, type Notification, type Sink } from '../../src/alert/sink.ts';
import type { AlertView, SinkView } from '../../src/api/alerts.ts';
import { count } from './counters.ts';
import { iso } from './records.ts';

/** How many notifications wait for one sink; then the oldest go. */
export const QUEUE_LIMIT = 1_000;
const TIMEOUT_MS = 10_000;
/** While a sink is being told, the alarm is set behind its time-out, should the object be ended meanwhile. */
const BACKSTOP_MS = 2 * TIMEOUT_MS;
/** How many are sent in a row before others may. */
const ROUND_LIMIT = 100;

export const OUTBOX_SCHEMA = `
  CREATE TABLE IF NOT EXISTS outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT, sink TEXT NOT NULL, notification TEXT NOT NULL);
  CREATE INDEX IF NOT EXISTS outbox_by_sink ON outbox (sink, id);
  CREATE TABLE IF NOT EXISTS sinks (
    name TEXT PRIMARY KEY, attempts INTEGER NOT NULL, next_attempt_ms INTEGER NOT NULL,
    last_success_ms INTEGER, last_error TEXT);`;

type State = { attempts: number; nextAttemptMs: number; lastSuccessMs: number | null; lastError: string | null };
const UNTRIED: State = { attempts: 0, nextAttemptMs: 0, lastSuccessMs: null, lastError: null };

function stateOf(sql: SqlStorage, sink: string): State {
  const select = `SELECT attempts, next_attempt_ms AS nextAttemptMs, last_success_ms AS lastSuccessMs,
    last_error AS lastError FROM sinks WHERE name = ?`;
  return sql.exec<State>(select, sink).toArray()[0] ?? UNTRIED;
}

function setState(sql: SqlStorage, sink: string, state: State): void {
  sql.exec(
    'INSERT OR REPLACE INTO sinks (name, attempts, next_attempt_ms, last_success_ms, last_error) VALUES (?, ?, ?, ?, ?)',
    sink,
    state.attempts,
    state.nextAttemptMs,
    state.lastSuccessMs,
    state.lastError,
  );
}

const queuedFor = (sql: SqlStorage, sink: string): number =>
  sql.exec<{ queued: number }>('SELECT COUNT(*) AS queued FROM outbox WHERE sink = ?', sink).one().queued;

/** Queues a notification for every sink that wants it; answers which sinks were full, so that their oldest one was dropped. */
export function enqueue(
  sql: SqlStorage,
  sinks: readonly Sink[],
  event: Notification['event'],
  alert: AlertView,
  nowMs: number,
): string[] {
  const full: string[] = [];
  for (const sink of sinks) {
    if (!wants(sink, event, alert)) continue;
    const notification: Notification = { id: crypto.randomUUID(), event, at: iso(nowMs), alert };
    sql.exec('INSERT INTO outbox (sink, notification) VALUES (?, ?)', sink.name, JSON.stringify(notification));
    if (queuedFor(sql, sink.name) <= QUEUE_LIMIT) continue;
    sql.exec('DELETE FROM outbox WHERE id = (SELECT MIN(id) FROM outbox WHERE sink = ?)', sink.name);
    count(sql, `notifications ${sink.name} dropped`);
    full.push(sink.name);
  }
  return full;
}

/** Forgets what waits for sinks that are no longer configured. */
export function forgetOtherSinks(sql: SqlStorage, sinks: readonly Sink[]): void {
  const names = sinks.map(({ name }) => name);
  const queued = sql.exec<{ sink: string; queued: number }>(
    'SELECT sink, COUNT(*) AS queued FROM outbox GROUP BY sink',
  );
  for (const { sink, queued: dropped } of queued.toArray()) {
    if (names.includes(sink)) continue;
    sql.exec('DELETE FROM outbox WHERE sink = ?', sink);
    count(sql, `notifications ${sink} dropped`, dropped);
  }
  for (const { name } of sql.exec<{ name: string }>('SELECT name FROM sinks').toArray()) {
    if (!names.includes(name)) sql.exec('DELETE FROM sinks WHERE name = ?', name);
  }
}

/** When the next sink is due; those being told now only after the backstop. */
export function nextAttemptMs(
  sql: SqlStorage,
  sinks: readonly Sink[],
  busy: ReadonlySet<string>,
  nowMs: number,
): number | undefined {
  const due = sinks
    .filter(({ name }) => queuedFor(sql, name) > 0)
    .map(({ name }) => (busy.has(name) ? nowMs + BACKSTOP_MS : Math.max(stateOf(sql, name).nextAttemptMs, nowMs)));
  return due.length ? Math.min(...due) : undefined;
}

/** Tells a sink what waits for it, in order, until one is not taken. */
export async function drain(sql: SqlStorage, sink: Sink): Promise<void> {
  for (let sent = 0; sent < ROUND_LIMIT && stateOf(sql, sink.name).nextAttemptMs <= Date.now(); sent += 1) {
    const oldest = 'SELECT id, notification FROM outbox WHERE sink = ? ORDER BY id LIMIT 1';
    const [row] = sql.exec<{ id: number; notification: string }>(oldest, sink.name).toArray();
    if (!row) return;
    const result = await tell(sink, JSON.parse(row.notification) as Notification);
    const nowMs = Date.now();
    if (result.outcome === 'failed') {
      const state = stateOf(sql, sink.name);
      const attempts = state.attempts + 1;
      const nextMs = nowMs + retryDelayMs(attempts, Math.random());
      setState(sql, sink.name, { ...state, attempts, nextAttemptMs: nextMs, lastError: result.error });
    } else {
      sql.exec('DELETE FROM outbox WHERE id = ?', row.id);
      const { lastSuccessMs } = stateOf(sql, sink.name);
      const taken =
        result.outcome === 'refused'
          ? { lastSuccessMs, lastError: result.error }
          : { lastSuccessMs: nowMs, lastError: null };
      setState(sql, sink.name, { attempts: 0, nextAttemptMs: 0, ...taken });
    }
    count(sql, `notifications ${sink.name} ${result.outcome}`);
    if (result.outcome !== 'delivered') {
      console.error(
        JSON.stringify({ event: 'sink_not_told', sink: sink.name, outcome: result.outcome, error: result.error }),
      );
    }
  }
}

const hmac: Hmac = async (key, message) => {
  const algorithm = { name: 'HMAC', hash: 'SHA-256' };
  const imported = await crypto.subtle.importKey('raw', key, algorithm, false, ['sign']);
  return new Uint8Array(await crypto.subtle.sign('HMAC', imported, message));
};

/** Sends one notification. Redirects are not followed, for they would carry secrets elsewhere; errors name no URL, for it may be one. */
async function tell(sink: Sink, notification: Notification) {
  const request = await sinkRequest(sink, notification, Date.now(), hmac);
  try {
    const response = await fetch(request.url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'user-agent': 'trigger-guard', ...request.headers },
      body: request.body,
      redirect: 'manual',
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    await response.body?.cancel();
    return { outcome: outcomeOf(response.status), error: `HTTP ${response.status}` } as const;
  } catch (error) {
    const reason = error instanceof Error && error.name === 'TimeoutError' ? 'no answer within 10 s' : 'no connection';
    return { outcome: 'failed', error: reason } as const;
  }
}

/** What each sink has still to be told. */
export function sinkViews(sql: SqlStorage, sinks: readonly Sink[]): SinkView[] {
  const instant = (ms: number | null): string | null => (ms ? iso(ms) : null);
  return sinks.map(({ name, type }) => {
    const { attempts, nextAttemptMs, lastSuccessMs, lastError } = stateOf(sql, name);
    return {
      name,
      type,
      queued: queuedFor(sql, name),
      attempts,
      nextAttemptAt: instant(nextAttemptMs),
      lastSuccessAt: instant(lastSuccessMs),
      lastError,
    };
  });
}
