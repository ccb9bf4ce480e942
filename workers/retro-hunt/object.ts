/** The activations object: what the guard saw of the latest images in 8 bits, as a ring of segments in SQLite. */
import { DurableObject } from 'cloudflare:workers';
import type { Env } from '../env.ts';

/** The most that can be kept, whatever RETRO_HUNT_REQUESTS says. */
const KEPT_LIMIT = 1_000_000;
/** How much is read at once. */
const PAGE_BYTES = 8 << 20;

/** When an image came and from whom; `scale` is that of its values. */
export type Origin = { atMs: number; clientKeyHash: string; scale: number };
/** The images of one trunk that were kept together: `values` [N,F] of `origins` [N]. */
export type Segment = { trunk: string; origins: Origin[]; values: Uint8Array };
export type Page = { segments: Segment[]; next: number | null };

type Row = { id: number; trunk: string; origins: string; values: ArrayBuffer };

/** How many images are kept; 0 where none are. */
export function keptLimit({ RETRO_HUNT_REQUESTS = '0' }: Env): number {
  const limit = Math.floor(Number(RETRO_HUNT_REQUESTS));
  return limit > 0 ? Math.min(limit, KEPT_LIMIT) : 0;
}

export class ActivationsObject extends DurableObject<Env> {
  readonly #sql: SqlStorage;
  #kept: number;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#sql = ctx.storage.sql;
    this.#sql.exec(`
      CREATE TABLE IF NOT EXISTS segments (
        id INTEGER PRIMARY KEY AUTOINCREMENT, trunk TEXT NOT NULL, count INTEGER NOT NULL, origins TEXT NOT NULL,
        "values" BLOB NOT NULL);
      CREATE INDEX IF NOT EXISTS segments_by_trunk ON segments (trunk, id);`);
    this.#kept = this.#sql.exec<{ kept: number }>('SELECT COALESCE(SUM(count), 0) AS kept FROM segments').one().kept;
  }

  /** Keeps segments, and forgets the oldest ones beyond the limit. */
  keep(segments: readonly Segment[]): void {
    const limit = keptLimit(this.env);
    if (limit === 0) return;
    for (const { trunk, origins, values } of segments) {
      // A segment larger than the whole ring would leave nothing in it.
      const latest = origins.slice(-limit);
      const size = values.length / origins.length;
      this.#sql.exec(
        'INSERT INTO segments (trunk, count, origins, "values") VALUES (?, ?, ?, ?)',
        trunk,
        latest.length,
        JSON.stringify(latest),
        values.slice(values.length - latest.length * size).buffer,
      );
      this.#kept += latest.length;
    }
    const oldest = 'SELECT id, count FROM segments ORDER BY id LIMIT 1';
    while (this.#kept > limit) {
      const { id, count } = this.#sql.exec<{ id: number; count: number }>(oldest).one();
      this.#sql.exec('DELETE FROM segments WHERE id = ?', id);
      this.#kept -= count;
    }
  }

  /** How many images are kept, of any trunk. */
  kept(): number {
    return this.#kept;
  }

  /** The segments of a trunk behind the id `after`, oldest first, a few megabytes at once; `next` is where to go on. */
  read(trunk: string, after: number): Page {
    const segments: Segment[] = [];
    let bytes = 0;
    const select = 'SELECT id, trunk, origins, "values" FROM segments WHERE trunk = ? AND id > ? ORDER BY id';
    for (const row of this.#sql.exec<Row>(select, trunk, after)) {
      segments.push({ trunk, origins: JSON.parse(row.origins) as Origin[], values: new Uint8Array(row.values) });
      bytes += row.values.byteLength;
      if (bytes >= PAGE_BYTES) return { segments, next: row.id };
    }
    return { segments, next: null };
  }
}

export const activationsObject = (env: Env): DurableObjectStub<ActivationsObject> =>
  env.ACTIVATIONS.get(env.ACTIVATIONS.idFromName('activations'));
