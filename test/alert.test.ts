import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ALERT_KINDS, alertSchema, COOL_DOWN_MS, dedupeKey, recordAlert, severity, type Alert } from '../src/alert.ts';

const match: Alert = {
  kind: 'trigger-match',
  release: 'a'.repeat(64),
  triggerId: 'bag-1',
  targetLabel: 3,
  label: 5,
  victimLabel: 3,
  pValue: 0.002,
  score: 7,
  requestId: 'request-1',
  clientKeyHash: '0'.repeat(32),
};
const failure: Alert = { kind: 'guard-failure', release: 'a'.repeat(64), message: 'guard: the score is NaN' };
const refusal: Alert = {
  kind: 'release-refused',
  release: 'a'.repeat(64),
  reason: 'expiry',
  message: 'manifest.json: expired',
};
const rolledBack: Alert = { kind: 'rollout-rolled-back', release: 'a'.repeat(64), revision: 7, reason: 'disagreement' };
const paused: Alert = { ...rolledBack, kind: 'rollout-paused' };
const dropped: Alert = { kind: 'notifications-dropped', release: null, sink: 'pager', dropped: 1 };
const surge: Alert = {
  kind: 'match-rate-surge',
  release: 'a'.repeat(64),
  rate: 0.2,
  expectedRate: 0.01,
  sampleSize: 500,
  windowStart: '2026-01-01T00:00:00.000Z',
};

test('a match is critical where the victim would have obeyed the trigger, and a warning where it would not', () => {
  expect(severity(match)).toBe('critical');
  expect(severity({ ...match, victimLabel: 5 })).toBe('warning');
});

test('a failing guard, a refused release, a roll back and a surge are critical; a pause is a warning', () => {
  expect([failure, refusal, rolledBack, surge, dropped].map(severity)).toEqual(Array(5).fill('critical'));
  expect(severity(paused)).toBe('warning');
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
    { ...refusal, reason: 'digest' },
    rolledBack,
    { ...rolledBack, revision: 8 },
    paused,
    surge,
    dropped,
    { ...dropped, sink: 'slack' },
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

test('a change of the rollout that is told again, even a day later, is told once', () => {
  const first = recordAlert(undefined, rolledBack, 0);
  expect(recordAlert(first, { ...rolledBack, reason: 'told again' }, 24 * 3_600_000)).toBe(first);
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
  const alerts = [match, failure, refusal, rolledBack, paused, surge, dropped];
  for (const alert of alerts) expect(alertSchema.parse(alert)).toEqual(alert);
  expect(alerts.map(({ kind }) => kind).sort()).toEqual([...ALERT_KINDS].sort());
  expect(alertSchema.safeParse({ ...failure, kind: 'other' }).success).toBe(false);
});
