/** The health object: what the releases did, in total and by the minute, in SQLite; isolates report their counts to it. */
import { DurableObject } from 'cloudflare:workers';
import { addCounts, noCounts, type Counts, type Deltas } from '../src/rollout/health.ts';
import type { Env } from './env.ts';

const MINUTE_MS = 60_000;
/** The series goes back a day, the totals to the 50 releases that answered last. */
const SERIES_MINUTES = 1440;
const TOTALS_LIMIT = 50;

/** Totals since `firstSeenMs`; each entry of the series holds one release's counts of the minute that began at `minuteMs`. */
export type Health = {
  releases: { digest: string; firstSeenMs: number; totals: Counts }[];
  series: { minuteMs: number; digest: string; counts: Counts }[];
};

const parse = (counts: string): Counts => JSON.parse(counts) as Counts;

export class HealthObject extends DurableObject<Env> {
  readonly #sql: SqlStorage;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#sql = ctx.storage.sql;
    this.#sql.exec(`
      CREATE TABLE IF NOT EXISTS totals (
        digest TEXT PRIMARY KEY, first_seen_ms INTEGER NOT NULL, last_seen_ms INTEGER NOT NULL, counts TEXT NOT NULL);
      CREATE TABLE IF NOT EXISTS minutes (
        minute_ms INTEGER NOT NULL, digest TEXT NOT NULL, counts TEXT NOT NULL, PRIMARY KEY (minute_ms, digest));`);
  }

  /** Adds counts of this moment. */
  record(deltas: Deltas): void {
    const now = Date.now();
    const minute = now - (now % MINUTE_MS);
    for (const [digest, delta] of Object.entries(deltas)) {
      const total = this.#counts('SELECT counts FROM totals WHERE digest = ?', digest);
      this.#sql.exec(
        `INSERT INTO totals VALUES (?1, ?2, ?2, ?3)
         ON CONFLICT (digest) DO UPDATE SET last_seen_ms = ?2, counts = ?3`,
        digest,
        now,
        JSON.stringify(addCounts(total, delta)),
      );
      const sofar = this.#counts('SELECT counts FROM minutes WHERE minute_ms = ? AND digest = ?', minute, digest);
      this.#sql.exec(
        'INSERT OR REPLACE INTO minutes VALUES (?, ?, ?)',
        minute,
        digest,
        JSON.stringify(addCounts(sofar, delta)),
      );
    }
    this.#sql.exec('DELETE FROM minutes WHERE minute_ms <= ?', minute - SERIES_MINUTES * MINUTE_MS);
    this.#sql.exec(
      'DELETE FROM totals WHERE digest NOT IN (SELECT digest FROM totals ORDER BY last_seen_ms DESC LIMIT ?)',
      TOTALS_LIMIT,
    );
  }

  #counts(query: string, ...key: (string | number)[]): Counts {
    const [row] = this.#sql.exec<{ counts: string }>(query, ...key).toArray();
    return row ? parse(row.counts) : noCounts();
  }

  /** The totals, and the series of the last `minutes`, oldest first. */
  read(minutes: number): Health {
    const releases = this.#sql
      .exec<{ digest: string; firstSeenMs: number; counts: string }>(
        'SELECT digest, first_seen_ms AS firstSeenMs, counts FROM totals ORDER BY last_seen_ms DESC',
      )
      .toArray();
    const series = this.#sql
      .exec<{ minuteMs: number; digest: string; counts: string }>(
        'SELECT minute_ms AS minuteMs, digest, counts FROM minutes WHERE minute_ms > ? ORDER BY minute_ms, digest',
        Date.now() - minutes * MINUTE_MS,
      )
      .toArray();
    return {
      releases: releases.map(({ counts, ...release }) => ({ ...release, totals: parse(counts) })),
      series: series.map((entry) => ({ ...entry, counts: parse(entry.counts) })),
    };
  }
}

const healthObject = (env: Env) => env.HEALTH.get(env.HEALTH.idFromName('health'));

/** Adds what an isolate has counted; rejects when the object cannot be reached. */
export async function recordHealth(env: Env, deltas: Deltas): Promise<void> {
  await healthObject(env).record(deltas);
}

/** The health of the releases, and its series over the last `minutes`. */
export async function readHealth(env: Env, minutes = 60): Promise<Health> {
  return healthObject(env).read(minutes);
}
