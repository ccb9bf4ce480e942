/** Rollouts for tests: short digests, counts that a release of a given quality would give, and states reached by events. */
import { latencyBucket, noCounts, type Counts } from '../../src/rollout/health.ts';
import type { Plan } from '../../src/rollout/plan.ts';
import { step, type Operation, type RolloutEvent, type Step } from '../../src/rollout/rollout.ts';
import { emptyRollout, type Rollout } from '../../src/rollout/state.ts';
import { DEFAULT_POLICY } from '../../src/rollout/verdict.ts';

export const digestOf = (letter: string): string => letter.repeat(64);
export const [A, B, C] = ['a', 'b', 'c'].map(digestOf) as [string, string, string];

/** Instants `seconds` after the first. */
export const at = (seconds: number): string => new Date(Date.UTC(2026, 0, 1) + seconds * 1000).toISOString();

export const plan: Plan = [5, 50].map((canaryPercent) => {
  return { canaryPercent, holdSeconds: 60, minRequests: 100, deadlineSeconds: 600 };
});

/** Counts of `requests` answers, each compared, with this many of each fault. */
export function counts(requests: number, faults: { errors?: number; disagreed?: number; slow?: number } = {}): Counts {
  const { errors = 0, disagreed = 0, slow = 0 } = faults;
  const latency = noCounts().latency;
  latency[latencyBucket(2)] = requests - errors - slow;
  latency[latencyBucket(3000)] = slow;
  const answered = requests - errors;
  return {
    ...noCounts(),
    requests,
    images: answered,
    errors: { guard: errors, load: 0 },
    latency,
    compared: answered,
    disagreed,
  };
}

const said = (seconds: number, reason = 'why') => ({ actor: 'operate:1', reason, at: at(seconds) });
export const activate = (digest: string, seconds = 0): RolloutEvent => ({ type: 'activate', digest, ...said(seconds) });
export const start = (digest: string, seconds = 0): RolloutEvent => ({ type: 'start', digest, plan, ...said(seconds) });
export const operate = (type: Operation, seconds = 0): RolloutEvent => ({ type, ...said(seconds) });
export const tick = (seconds: number): RolloutEvent => ({ type: 'tick', at: at(seconds) });
export const health = (deltas: Record<string, Counts>, seconds: number): RolloutEvent => ({
  type: 'health',
  deltas,
  at: at(seconds),
});

export const apply = (state: Rollout, event: RolloutEvent): Step => step(state, event, DEFAULT_POLICY);
/** The state after events, from nothing. */
export const after = (...events: readonly RolloutEvent[]): Rollout =>
  events.reduce((state, event) => apply(state, event).state, emptyRollout);
/** The last step of events, from nothing. */
export const last = (...events: readonly RolloutEvent[]): Step => apply(after(...events.slice(0, -1)), events.at(-1)!);
