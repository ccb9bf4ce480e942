/**
 * The rollout as a pure state machine: which release serves whom, and what has to be done about it. Who stores the state and who acts on
 * the effects is not decided here; time, actor and reason come in with the event, so that the same events give the same state.
 */
import { addCounts, noCounts, type Deltas } from './health.ts';
import type { Plan } from './plan.ts';
import {
  FAILED_LIMIT,
  HISTORY_LIMIT,
  percentOf,
  UNTOLD_LIMIT,
  type Canary,
  type Change,
  type Rollout,
  type RolloutAlert,
} from './state.ts';
import { verdictOf, type Policy } from './verdict.ts';

/** Who asks and why, at an instant (ISO 8601); with `expectedRevision` only if nothing has changed since that revision. */
type Said = { actor: string; reason: string; at: string; expectedRevision?: number | undefined };

/** What an operator may ask of a rollout that is there. */
export const operations = ['pause', 'resume', 'promote', 'abort', 'roll-back', 'undo'] as const;
export type Operation = (typeof operations)[number];

export type RolloutEvent =
  | ({ type: 'activate'; digest: string } & Said)
  | ({ type: 'start'; digest: string; plan: Plan } & Said)
  | ({ type: Operation } & Said)
  | { type: 'health'; deltas: Deltas; at: string }
  | { type: 'tick'; at: string }
  /** The alerts of these revisions are stored. */
  | { type: 'told'; revisions: readonly number[] };

/** What the shell has to do after it has stored the state; a refused event changes nothing. */
export type Effect =
  | { type: 'log'; change: Change }
  | { type: 'alert'; alert: RolloutAlert }
  | { type: 'refuse'; message: string };

export type Step = { state: Rollout; effects: readonly Effect[] };

/** Who acts when the rollout does by itself. */
export const AUTOMATIC = 'rollout';

/** The state after an event, and what has to be done about it. */
export function step(state: Rollout, event: RolloutEvent, policy: Policy): Step {
  if (event.type === 'health') return judge(observe(state, event.deltas), event.at, policy);
  if (event.type === 'tick') return judge(state, event.at, policy);
  if (event.type === 'told') return told(state, event.revisions);
  const { expectedRevision } = event;
  if (expectedRevision !== undefined && expectedRevision !== state.revision) {
    return refuse(state, `the rollout is at revision ${state.revision}, not at ${expectedRevision}: look at it again`);
  }
  switch (event.type) {
    case 'activate':
      return activate(state, event.digest, event);
    case 'start':
      return start(state, event.digest, event.plan, event);
    case 'undo':
      return undo(state, event);
    case 'roll-back':
      return rollBack(state, event);
    default:
      return state.canary
        ? changeCanary(state, state.canary, event.type, event)
        : refuse(state, `no rollout is running that one could ${event.type}`);
  }
}

const refuse = (state: Rollout, message: string): Step => ({ state, effects: [{ type: 'refuse', message }] });
const unchanged = (state: Rollout): Step => ({ state, effects: [] });

type Changed = Partial<Pick<Rollout, 'stable' | 'previousStable' | 'canary' | 'failed'>>;

/** The one way in which a revision is made: what changed, a line of history, and the alert that tells of it. */
function change(
  state: Rollout,
  changed: Changed,
  made: Pick<Change, 'type' | 'digest' | 'canaryPercent'>,
  { actor, reason, at }: Said,
  alertKind?: RolloutAlert['kind'],
): Step {
  const revision = state.revision + 1;
  const line: Change = { revision, ...made, previous: state.stable, actor, reason, at };
  const alert: RolloutAlert | undefined = alertKind && { kind: alertKind, release: made.digest, revision, reason };
  return {
    state: {
      ...state,
      ...changed,
      revision,
      history: [...state.history, line].slice(-HISTORY_LIMIT),
      ...(alert && { untold: [...state.untold, alert].slice(-UNTOLD_LIMIT) }),
    },
    effects: [{ type: 'log', change: line }, ...(alert ? [{ type: 'alert' as const, alert }] : [])],
  };
}

const failureOf = (state: Rollout, digest: string) => state.failed.find((failed) => failed.digest === digest);

const isRunning = ({ digest }: Canary): string =>
  `a rollout of ${digest} is running: promote, abort or roll it back first`;

/** Everybody gets the release at once. Repeating it changes nothing, so that a publisher may repeat itself. */
function activate(state: Rollout, digest: string, said: Said): Step {
  if (digest === state.stable) return unchanged(state);
  if (state.canary) return refuse(state, isRunning(state.canary));
  const failed = failureOf(state, digest);
  if (failed) {
    return refuse(
      state,
      `release ${digest} failed at revision ${failed.revision} (${failed.reason}): start a rollout of it`,
    );
  }
  const changed = { stable: digest, previousStable: state.stable };
  return change(state, changed, { type: 'activate', digest, canaryPercent: 100 }, said);
}

/** Begins a plan, also for a release that failed before; the first release of all has nothing to be compared with and serves at once. */
function start(state: Rollout, digest: string, plan: Plan, said: Said): Step {
  const { canary } = state;
  if (canary?.digest === digest && JSON.stringify(canary.plan) === JSON.stringify(plan)) return unchanged(state);
  if (canary) return refuse(state, isRunning(canary));
  if (digest === state.stable) return refuse(state, `release ${digest} is stable already`);
  const failed = state.failed.filter((failed) => failed.digest !== digest);
  if (state.stable === null) {
    return change(state, { stable: digest, failed }, { type: 'activate', digest, canaryPercent: 100 }, said);
  }
  const begun: Canary = {
    digest,
    salt: `${digest}/${state.revision + 1}`,
    plan,
    stepIndex: 0,
    stepStartedAt: said.at,
    evidence: { canary: noCounts(), stable: noCounts() },
    paused: null,
  };
  return change(state, { canary: begun, failed }, { type: 'start', digest, canaryPercent: percentOf(begun) }, said);
}

function changeCanary(
  state: Rollout,
  canary: Canary,
  type: 'pause' | 'resume' | 'promote' | 'abort',
  said: Said,
): Step {
  const { digest } = canary;
  const { actor, reason, at } = said;
  const made = { type, digest, canaryPercent: percentOf(canary) };
  switch (type) {
    case 'pause':
      if (canary.paused) return unchanged(state);
      return change(state, { canary: { ...canary, paused: { actor, reason, at } } }, made, said);
    case 'resume':
      if (!canary.paused) return unchanged(state);
      // The step's time begins anew; what was counted stays.
      return change(state, { canary: { ...canary, paused: null, stepStartedAt: at } }, made, said);
    case 'promote':
      return promote(state, canary, said);
    default:
      return change(state, { canary: null }, { ...made, canaryPercent: 0 }, said);
  }
}

const promote = (state: Rollout, { digest }: Canary, said: Said): Step => {
  const changed = { stable: digest, previousStable: state.stable, canary: null };
  return change(state, changed, { type: 'promote', digest, canaryPercent: 100 }, said);
};

/** Takes back the canary, or without one the stable release, and remembers it as failed. */
function rollBack(state: Rollout, said: Said): Step {
  const { canary, stable, previousStable } = state;
  const digest = canary?.digest ?? stable;
  if (digest === null) return refuse(state, 'no release serves that one could roll back');
  if (!canary && previousStable === null) return refuse(state, `no release is known that served before ${digest}`);
  const { reason, at } = said;
  const failed = [
    ...state.failed.filter((failed) => failed.digest !== digest),
    { digest, revision: state.revision + 1, reason, at },
  ].slice(-FAILED_LIMIT);
  const changed: Changed = canary
    ? { canary: null, failed, previousStable: previousStable === digest ? null : previousStable }
    : { stable: previousStable, previousStable: null, failed };
  return change(state, changed, { type: 'roll-back', digest, canaryPercent: 0 }, said, 'rollout-rolled-back');
}

/** Puts back the stable release that the latest change replaced. */
function undo(state: Rollout, said: Said): Step {
  const latest = state.history.at(-1);
  const { previousStable } = state;
  if (!latest || !['activate', 'promote', 'undo'].includes(latest.type) || previousStable === null) {
    const done = latest ? `the latest change is ${latest.type}` : 'nothing has changed yet';
    return refuse(state, `only a change of the stable release can be undone: ${done}`);
  }
  const changed = { stable: previousStable, previousStable: state.stable };
  return change(state, changed, { type: 'undo', digest: previousStable, canaryPercent: 100 }, said);
}

const told = (state: Rollout, revisions: readonly number[]): Step =>
  unchanged({ ...state, untold: state.untold.filter(({ revision }) => !revisions.includes(revision)) });

/** Adds what isolates have counted to the evidence of the running step. */
function observe(state: Rollout, deltas: Deltas): Rollout {
  const { canary, stable } = state;
  if (!canary || stable === null) return state;
  const evidence = {
    canary: addCounts(canary.evidence.canary, deltas[canary.digest] ?? noCounts()),
    stable: addCounts(canary.evidence.stable, deltas[stable] ?? noCounts()),
  };
  return { ...state, canary: { ...canary, evidence } };
}

/** Acts on the evidence: a paused canary can still fail, but does not advance. */
function judge(state: Rollout, at: string, policy: Policy): Step {
  const { canary } = state;
  if (!canary) return unchanged(state);
  const planStep = canary.plan[canary.stepIndex]!;
  const verdict = verdictOf(canary.evidence, planStep, policy);
  const automatic = (reason: string): Said => ({ actor: AUTOMATIC, reason, at });
  if (verdict.verdict === 'failed') return rollBack(state, automatic(verdict.reason));
  if (canary.paused) return unchanged(state);
  const elapsedSeconds = (Date.parse(at) - Date.parse(canary.stepStartedAt)) / 1000;
  if (verdict.verdict === 'successful') {
    return elapsedSeconds >= planStep.holdSeconds
      ? advance(state, canary, automatic('as good as stable'))
      : unchanged(state);
  }
  if (elapsedSeconds < planStep.deadlineSeconds) return unchanged(state);
  const said = automatic(`inconclusive after ${planStep.deadlineSeconds} s: ${verdict.reason}`);
  const { digest } = canary;
  const made = { type: 'pause', digest, canaryPercent: planStep.canaryPercent } as const;
  return change(state, { canary: { ...canary, paused: { ...said } } }, made, said, 'rollout-paused');
}

/** The next step, which is judged on its own evidence; after the last one the canary is stable. */
function advance(state: Rollout, canary: Canary, said: Said): Step {
  const stepIndex = canary.stepIndex + 1;
  if (stepIndex === canary.plan.length) return promote(state, canary, said);
  const evidence = { canary: noCounts(), stable: noCounts() };
  const next: Canary = { ...canary, stepIndex, stepStartedAt: said.at, evidence };
  return change(
    state,
    { canary: next },
    { type: 'advance', digest: canary.digest, canaryPercent: percentOf(next) },
    said,
  );
}
