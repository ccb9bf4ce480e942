/** 100,000 seeded histories of operators, health, time and trouble through `step`; what must never happen is asked after every event. */
import { expect, test } from 'vitest';
import { getsCanary } from '../../src/rollout/assign.ts';
import { noCounts } from '../../src/rollout/health.ts';
import type { Plan } from '../../src/rollout/plan.ts';
import { operations, step, type RolloutEvent, type Step } from '../../src/rollout/rollout.ts';
import { emptyRollout, HISTORY_LIMIT, percentOf, readStored, type Rollout } from '../../src/rollout/state.ts';
import { DEFAULT_POLICY } from '../../src/rollout/verdict.ts';
import { uniform } from '../support/uniform.ts';
import { at, counts, digestOf } from './histories.ts';

const HISTORIES = 100_000;
const EVENTS = 24;
const digests = ['a', 'b', 'c'].map(digestOf);

type Random = () => number;

const pick = <T>(random: Random, items: readonly T[]): T => items[Math.floor(random() * items.length)]!;

const plans: readonly Plan[] = [[10], [0, 20], [5, 25, 50], [50, 100]].map((percents) =>
  percents.map((canaryPercent) => ({ canaryPercent, holdSeconds: 30, minRequests: 100, deadlineSeconds: 120 })),
);
const reports = [
  counts(150),
  counts(400),
  counts(60),
  counts(200, { disagreed: 70 }),
  counts(80, { errors: 30 }),
  noCounts(),
];

/** One event of any kind; time mostly goes on, now and then back. */
function randomEvent(random: Random, state: Rollout, seconds: number): RolloutEvent {
  const outdated = random() < 0.1 ? { expectedRevision: Math.floor(random() * (state.revision + 2)) } : {};
  const said = { actor: 'operate:1', reason: '', at: at(seconds), ...outdated };
  const kind = random();
  if (kind < 0.12) return { type: 'activate', digest: pick(random, digests), ...said };
  if (kind < 0.34) return { type: 'start', digest: pick(random, digests), plan: pick(random, plans), ...said };
  if (kind < 0.5) return { type: pick(random, operations), ...said };
  if (kind < 0.6) return { type: 'tick', at: said.at };
  if (kind < 0.65) return { type: 'told', revisions: state.untold.map(({ revision }) => revision) };
  const deltas = Object.fromEntries(digests.map((digest) => [digest, pick(random, reports)]));
  return { type: 'health', deltas, at: said.at };
}

const require = (holds: boolean, what: string): void => {
  if (!holds) throw new Error(what);
};

/** What one event may do to the rollout, whatever it is. */
function checkStep(before: Rollout, event: RolloutEvent, { state, effects }: Step, bucket: number): void {
  const failed = new Set(state.failed.map(({ digest }) => digest));
  const canary = state.canary?.digest;
  require(state.stable === null || !failed.has(state.stable), 'a failed release is stable');
  require(canary === undefined || !failed.has(canary), 'a failed release is canary');
  require(state.previousStable === null || !failed.has(state.previousStable), 'a failed release could be put back');
  require(canary === undefined || (state.stable !== null && canary !== state.stable), 'the canary stands alone');

  const anew = event.type === 'start';
  for (const { digest } of before.failed)
    require(failed.has(digest) || anew, 'a failure was forgotten without a start');

  const changed = state.revision - before.revision;
  require(changed === 0 || changed === 1, 'an event made more than one revision');
  require(effects.filter(({ type }) => type === 'log').length === changed, 'a revision was not logged once');
  const refused = effects.some(({ type }) => type === 'refuse');
  if (refused) require(state === before && effects.length === 1, 'a refused event changed something');
  if (changed === 0) require(state.history === before.history, 'the history changed without a revision');
  const line = state.history.at(-1);
  if (changed) {
    require(line!.revision === state.revision && line!.previous === before.stable, 'the history does not follow');
    require(state.history.at(-2) === before.history.at(-1), 'the history was rewritten');
    require(state.history.length <= HISTORY_LIMIT, 'the history is too long');
  }

  const alerts = effects.flatMap((effect) => (effect.type === 'alert' ? [effect.alert] : []));
  const wentBack = changed === 1 && line!.type === 'roll-back';
  const stopped = changed === 1 && line!.type === 'pause' && line!.actor === 'rollout';
  require(alerts.length === Number(wentBack || stopped), 'not exactly one alert of a roll back');
  if (alerts[0])
    require(alerts[0].revision === state.revision && state.untold.at(-1) === alerts[0], 'an alert may be lost');
  if (event.type !== 'told')
    require(state.untold.length === before.untold.length + alerts.length, 'an alert was dropped');

  const [was, is] = [before.canary, state.canary];
  if (was && is && was.salt === is.salt) {
    require(was.digest === is.digest, 'one rollout has two canaries');
    require(percentOf(is) >= percentOf(was), 'a percentage fell');
    require(!getsCanary(bucket, percentOf(was)) || getsCanary(bucket, percentOf(is)), 'a client moved back');
  }
  if (is && was?.salt !== is.salt) require(anew && !was, 'a canary began without a start, or beside another');
}

/** One history; answers its events and where they led. */
function simulate(seed: number): { events: RolloutEvent[]; state: Rollout } {
  const random = uniform(seed);
  const bucket = Math.floor(random() * 10_000);
  const events: RolloutEvent[] = [];
  let state = emptyRollout;
  let seconds = 0;
  for (let index = 0; index < EVENTS; index += 1) {
    seconds += random() < 0.05 ? -60 * random() : 50 * random();
    const event = randomEvent(random, state, seconds);
    const next = step(state, event, DEFAULT_POLICY);
    checkStep(state, event, next, bucket);
    events.push(event);
    ({ state } = next);
  }
  return { events, state };
}

test('in 100,000 random histories there are never two canaries, no failed release serves, nobody moves back, and every roll back alerts once', () => {
  const reached = new Map<string, number>();
  for (let seed = 0; seed < HISTORIES; seed += 1) {
    let history: ReturnType<typeof simulate>;
    try {
      history = simulate(seed);
    } catch (error) {
      throw new Error(`seed ${seed}: ${String(error)}`, { cause: error });
    }
    const { state } = history;
    for (const { type, actor } of state.history) {
      const key = `${type} by ${actor}`;
      reached.set(key, (reached.get(key) ?? 0) + 1);
    }
    if (seed % 20 > 0) continue;
    const replayed = history.events.reduce((state, event) => step(state, event, DEFAULT_POLICY).state, emptyRollout);
    expect(replayed).toEqual(state);
    expect(readStored(JSON.parse(JSON.stringify(state)))).toEqual({ ok: true, value: state });
  }
  // The histories are worth something only if they come everywhere.
  const everything = ['activate', 'start', ...operations].map((type) => `${type} by operate:1`);
  for (const change of [
    ...everything,
    'advance by rollout',
    'promote by rollout',
    'roll-back by rollout',
    'pause by rollout',
  ])
    expect(reached.get(change) ?? 0, change).toBeGreaterThan(1000);
}, 120_000);
