/**
 * The rollout object: an itty-durable shell over src/rollout/rollout.ts, and the two functions through which the worker speaks to it.
 *
 * What itty-durable needs to be told: it must not see the bindings (it wraps whatever has `idFromName`), arguments travel as JSON in
 * a header (so they are percent-encoded here), and only an awaited `persist` is sure to be stored. Never return the stub from
 * an async function: it answers `then` with a request.
 */
import { createDurable, proxyDurable } from 'itty-durable';
import { rolloutResponse } from '../src/api/rollout.ts';
import { emptyRollout, step, type Rollout, type RolloutEvent } from '../src/rollout/rollout.ts';
import type { Env } from './env.ts';

/** What a caller says; the object adds the time, so that one clock orders the history. */
type RolloutRequest = Omit<RolloutEvent, 'at'>;

const Durable = createDurable();

export class RolloutObject extends Durable {
  rollout: Rollout = emptyRollout;

  constructor(state: DurableObjectState) {
    super(state, {});
  }

  current(): Rollout {
    return this.rollout;
  }

  async apply(encoded: string): Promise<Rollout> {
    const request = JSON.parse(decodeURIComponent(encoded)) as RolloutRequest;
    const { state, effects } = step(this.rollout, { ...request, at: new Date().toISOString() });
    this.rollout = state;
    await this.persist();
    for (const effect of effects) console.log(JSON.stringify({ event: 'rollout', ...effect.change }));
    return state;
  }
}

type Remote = { current(): Promise<unknown>; apply(encoded: string): Promise<unknown> };
const remote = (env: Env): Remote =>
  proxyDurable(env.ROLLOUT, { name: 'ROLLOUT', parse: true }).get('rollout') as Remote;

/** The stored rollout; rejects when the object cannot be reached or answers something else. */
export const readRollout = async (env: Env): Promise<Rollout> => rolloutResponse.parse(await remote(env).current());

/** Applies one event to the stored rollout and answers the new one. */
export const changeRollout = async (env: Env, request: RolloutRequest): Promise<Rollout> =>
  rolloutResponse.parse(await remote(env).apply(encodeURIComponent(JSON.stringify(request))));
