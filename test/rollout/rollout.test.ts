import fc from 'fast-check';
import { expect, test } from 'vitest';
import { emptyRollout, HISTORY_LIMIT, step, type Rollout, type RolloutEvent } from '../../src/rollout/rollout.ts';

const digest = fc.constantFrom('a', 'b', 'c').map((letter) => letter.repeat(64));
const event: fc.Arbitrary<RolloutEvent> = fc.record({
  type: fc.constant('activate'),
  digest,
  actor: fc.constantFrom('publish:1', 'operate:2'),
  reason: fc.string({ maxLength: 20 }),
  at: fc.date({ noInvalidDate: true }).map((date) => date.toISOString()),
});
const activate = (letter: string, reason = ''): RolloutEvent => ({
  type: 'activate',
  digest: letter.repeat(64),
  actor: 'operate:2',
  reason,
  at: '2026-01-01T00:00:00.000Z',
});

const run = (events: readonly RolloutEvent[]): Rollout =>
  events.reduce((state, next) => step(state, next).state, emptyRollout);

test('the first activation makes its release serve and says that nothing served before', () => {
  const { state, effects } = step(emptyRollout, activate('a', 'first'));
  const change = {
    revision: 1,
    type: 'activate',
    digest: 'a'.repeat(64),
    previous: null,
    actor: 'operate:2',
    reason: 'first',
    at: '2026-01-01T00:00:00.000Z',
  };
  expect(state).toEqual({ revision: 1, stable: 'a'.repeat(64), history: [change] });
  expect(effects).toEqual([{ type: 'log', change }]);
});

test('activating what serves already changes nothing and has no effect', () => {
  const { state } = step(emptyRollout, activate('a'));
  expect(step(state, activate('a', 'again'))).toEqual({ state, effects: [] });
});

test('after any events the last one named serves, and the history is an unbroken, bounded chain that ends there', () => {
  fc.assert(
    fc.property(fc.array(event, { minLength: 1, maxLength: 2 * HISTORY_LIMIT + 20 }), (events) => {
      const { stable, revision, history } = run(events);
      expect(stable).toBe(events.at(-1)!.digest);
      expect(history.at(-1)).toMatchObject({ digest: stable, revision });
      expect(history.length).toBe(Math.min(revision, HISTORY_LIMIT));
      history.slice(1).forEach((change, index) => {
        const before = history[index]!;
        expect(change.revision).toBe(before.revision + 1);
        expect(change.previous).toBe(before.digest);
        expect(change.digest).not.toBe(change.previous);
      });
    }),
    { numRuns: 50 },
  );
});

test('an event neither alters the state it was applied to nor what the history already says', () => {
  fc.assert(
    fc.property(fc.array(event, { maxLength: 30 }), event, (events, last) => {
      const before = run(events);
      const copy = structuredClone(before);
      const { state } = step(before, last);
      expect(before).toEqual(copy);
      expect(state.history.slice(0, before.history.length)).toEqual(before.history);
    }),
  );
});
