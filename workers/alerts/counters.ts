/** Counters of the alerts object that only ever grow, by name: words parted by spaces, the first the counter, the others its labels. */

/** The part of an object's SQLite that is used, named here so that it can be tried over any SQLite. */
export type Sql = {
  exec<Row extends Record<string, string | number | null>>(
    query: string,
    ...values: (string | number | null)[]
  ): { toArray(): Row[]; one(): Row; readonly rowsWritten: number };
};

export const COUNTERS_SCHEMA = 'CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);';

/** Adds to a counter. */
export function count(sql: Sql, name: string, amount = 1): void {
  sql.exec(
    'INSERT INTO counters (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value',
    name,
    amount,
  );
}

/** Every counter. */
export const counters = (sql: Sql): { name: string; value: number }[] =>
  sql.exec<{ name: string; value: number }>('SELECT name, value FROM counters ORDER BY name').toArray();
