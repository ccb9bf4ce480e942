/** The kept images of alerts: PNG files in R2 under `evidence/`, one for the first input of an alert, for a number of days. */
import type { Env } from '../env.ts';

/** How many images are kept; the oldest go first. */
const IMAGE_LIMIT = 1_000;
const DAY_MS = 24 * 3_600_000;
const DAYS_LIMIT = 365;
/** How many files R2 deletes in one call. */
const DELETE_LIMIT = 1_000;

export const EVIDENCE_SCHEMA = `
  CREATE TABLE IF NOT EXISTS images (id INTEGER PRIMARY KEY, request_id TEXT NOT NULL, expires_ms INTEGER NOT NULL);
  CREATE INDEX IF NOT EXISTS images_by_expiry ON images (expires_ms);`;

const keyOf = (id: number): string => `evidence/${id}.png`;

/** For how long images are kept; 0 where they are not, also when the variable is no number of days up to 365. */
export function retentionMs({ EVIDENCE_IMAGES_DAYS = '0' }: Env): number {
  const days = Number(EVIDENCE_IMAGES_DAYS);
  return days > 0 && days <= DAYS_LIMIT ? days * DAY_MS : 0;
}

/** Keeps the image of an alert. It is written down before it is stored, so that no stored one is forgotten. */
export async function keepImage(
  sql: SqlStorage,
  env: Env,
  id: number,
  requestId: string,
  png: Uint8Array,
): Promise<void> {
  const keepMs = retentionMs(env);
  if (keepMs === 0) return;
  sql.exec(
    'INSERT OR IGNORE INTO images (id, request_id, expires_ms) VALUES (?, ?, ?)',
    id,
    requestId,
    Date.now() + keepMs,
  );
  await env.RELEASES.put(keyOf(id), png, { httpMetadata: { contentType: 'image/png' } });
}

/** Deletes the images whose time is over, and the oldest of those that are too many. */
export async function deleteOldImages(sql: SqlStorage, env: Env): Promise<void> {
  const old = sql
    .exec<{ id: number }>(
      `SELECT id FROM images WHERE expires_ms <= ?
       UNION SELECT id FROM (SELECT id FROM images ORDER BY id DESC LIMIT -1 OFFSET ?) LIMIT ?`,
      Date.now(),
      IMAGE_LIMIT,
      DELETE_LIMIT,
    )
    .toArray();
  if (old.length === 0) return;
  await env.RELEASES.delete(old.map(({ id }) => keyOf(id)));
  for (const { id } of old) sql.exec('DELETE FROM images WHERE id = ?', id);
}

/** When the next image's time is over. */
export function nextExpiryMs(sql: SqlStorage): number | undefined {
  const { next } = sql.exec<{ next: number | null }>('SELECT MIN(expires_ms) AS next FROM images').one();
  return next ?? undefined;
}

export const imageCount = (sql: SqlStorage): number =>
  sql.exec<{ images: number }>('SELECT COUNT(*) AS images FROM images').one().images;

/** The image of an alert, or null when none is kept. */
export const readImage = (env: Env, id: number): Promise<R2ObjectBody | null> => env.RELEASES.get(keyOf(id));
