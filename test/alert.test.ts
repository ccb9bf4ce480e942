import fc from 'fast-check';
import { expect, test } from 'vitest';
import { alertSchema, COOL_DOWN_MS, dedupeKey, recordAlert, severity, type Alert } from '../src/alert.ts';

const match: Alert = {
  kind: 'trigger-match',
  release: 'a'.repeat(64),
  triggerId: 'bag-1',
  targetLabel: 3,
  label: 5,
  victimLabel: 3,
  pValue: 0.002,
  score: 7,
};
const failure: Alert = { kind: 'guard-failure', release: 'a'.repeat(64), message: 'guard: the score is NaN' };
const refusal: Alert = { kind: 'release-refused', release: 'a'.repeat(64), message: 'manifest.json: expired' };

test('a match is critical where the victim would have obeyed the trigger, and a warning where it would not', () => {
  expect(severity(match)).toBe('critical');
  expect(severity({ ...match, victimLabel: 5 })).toBe('warning');
});

test('a failing guard and a refused release are critical', () => {
  expect([failure, refusal].map(severity)).toEqual(['critical', 'critical']);
});

test('repeats share a key: other scores and messages do, other triggers, releases, kinds and severities do not', () => {
  expect(dedupeKey({ ...match, score: 1, pValue: 0.5, label: 1 })).toBe(dedupeKey(match));
  expect(dedupeKey({ ...failure, message: 'other' })).toBe(dedupeKey(failure));
  const different: Alert[] = [
    match,
    { ...match, triggerId: 'bag-2' },
    { ...match, release: 'b'.repeat(64) },
    { ...match, victimLabel: 5 },
    failure,
    refusal,
  ];
  expect(new Set(different.map(dedupeKey)).size).toBe(different.length);
});

test('a repeat within the cool-down counts on the same record and keeps the latest details', () => {
  const first = recordAlert(undefined, match, 1000);
  const second = recordAlert(first, { ...match, score: 9 }, 1000 + COOL_DOWN_MS - 1);
  expect(second).toEqual({
    alert: { ...match, score: 9 },
    count: 2,
    firstSeenMs: 1000,
    lastSeenMs: 1000 + COOL_DOWN_MS - 1,
  });
});

test('a repeat after the cool-down opens a new record, however busy the time between was', () => {
  const first = recordAlert(undefined, match, 0);
  const busy = recordAlert(first, match, COOL_DOWN_MS - 1);
  expect(recordAlert(busy, match, COOL_DOWN_MS)).toEqual({
    alert: match,
    count: 1,
    firstSeenMs: COOL_DOWN_MS,
    lastSeenMs: COOL_DOWN_MS,
  });
});

test('no repeat is lost: over any instants the counts of all records add up, and no record outlives the cool-down', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 3 * COOL_DOWN_MS }), { minLength: 1 }), (instants) => {
      let latest = recordAlert(undefined, match, instants[0]!);
      const closed: (typeof latest)[] = [];
      for (const atMs of instants.slice(1)) {
        const next = recordAlert(latest, match, atMs);
        if (next.count === 1) closed.push(latest);
        latest = next;
      }
      const records = [...closed, latest];
      expect(records.reduce((total, { count }) => total + count, 0)).toBe(instants.length);
      for (const { firstSeenMs, lastSeenMs } of records) {
        expect(lastSeenMs - firstSeenMs).toBeGreaterThanOrEqual(0);
        expect(lastSeenMs - firstSeenMs).toBeLessThan(COOL_DOWN_MS);
      }
    }),
  );
});

test('the schema takes every kind of alert and refuses an unknown one', () => {
  for (const alert of [match, failure, refusal]) expect(alertSchema.parse(alert)).toEqual(alert);
  expect(alertSchema.safeParse({ ...failure, kind: 'other' }).success).toBe(false);
});
