/**
 * The rollout: which release serves, as a pure state machine. Who stores it and who acts on its effects is not decided here;
 * time, actor and reason come in with the event.
 */

/** One change of what serves: `at` is an instant as ISO 8601, `actor` who asked for it, `reason` why ('' when not said). */
export type Change = {
  revision: number;
  type: 'activate';
  digest: string;
  previous: string | null;
  actor: string;
  reason: string;
  at: string;
};

/** `stable` is the digest that serves everyone; `history` holds the latest changes, oldest first. */
export type Rollout = { revision: number; stable: string | null; history: readonly Change[] };

export type RolloutEvent = { type: 'activate'; digest: string; actor: string; reason: string; at: string };

/** What the shell has to do after it has stored the state. */
export type Effect = { type: 'log'; change: Change };

export type Step = { state: Rollout; effects: readonly Effect[] };

/** How many changes the history keeps. */
export const HISTORY_LIMIT = 100;

export const emptyRollout: Rollout = { revision: 0, stable: null, history: [] };

/**
 * The state after an event, and what has to be done about it. Activating what serves already changes nothing, so that a
 * publisher may repeat itself.
 */
export function step(state: Rollout, event: RolloutEvent): Step {
  const { type, digest, actor, reason, at } = event;
  if (digest === state.stable) return { state, effects: [] };
  const change: Change = { revision: state.revision + 1, type, digest, previous: state.stable, actor, reason, at };
  const history = [...state.history, change].slice(-HISTORY_LIMIT);
  return { state: { revision: change.revision, stable: digest, history }, effects: [{ type: 'log', change }] };
}
