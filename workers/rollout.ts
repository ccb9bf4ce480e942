/**
 * The rollout object: an itty-durable shell over src/rollout/rollout.ts, and the functions through which the worker speaks to it.
 *
 * What itty-durable needs to be told: it must not see the bindings (it wraps whatever has `idFromName`), arguments travel as JSON in
 * a header (so they are percent-encoded here), and only an awaited `persist` is sure to be stored. Never return the stub from
 * an async function: it answers `then` with a request. It owns the property `state`.
 */
import { createDurable, proxyDurable } from 'itty-durable';
import * as z from 'zod';
import type { Result } from '../src/result.ts';
import type { Deltas } from '../src/rollout/health.ts';
import { step, type RolloutEvent } from '../src/rollout/rollout.ts';
import {
  emptyRollout,
  readStored,
  rolloutSchema,
  servingOf,
  servingSchema,
  type Rollout,
  type RolloutAlert,
  type Serving,
} from '../src/rollout/state.ts';
import { DEFAULT_POLICY } from '../src/rollout/verdict.ts';
import { storeAlerts } from './alerts.ts';
import type { Env, Waiter } from './env.ts';

type WithoutAt<Event> = Event extends unknown ? Omit<Event, 'at'> : never;
/** What a caller says; the object adds the time, so that one clock orders the history. */
export type RolloutCommand = WithoutAt<RolloutEvent>;

type Applied = { rollout: Rollout; refusal: string | null };

const Durable = createDurable();

export class RolloutObject extends Durable {
  rollout: Rollout = emptyRollout;

  constructor(state: DurableObjectState) {
    super(state, {});
  }

  /** After the stored state was loaded, which older code may have stored. */
  override async onLoad(): Promise<void> {
    const read = readStored(this.rollout);
    if (!read.ok) throw new Error(read.error);
    this.rollout = read.value;
  }

  current(): Rollout {
    return this.rollout;
  }

  serving(): Serving {
    return servingOf(this.rollout);
  }

  async apply(encoded: string): Promise<Applied> {
    const command = JSON.parse(decodeURIComponent(encoded)) as RolloutCommand;
    const event = { ...command, at: new Date().toISOString() } as RolloutEvent;
    const before = this.rollout;
    const { state, effects } = step(before, event, DEFAULT_POLICY);
    this.rollout = state;
    if (state !== before) await this.#store(before);
    let refusal: string | null = null;
    for (const effect of effects) {
      if (effect.type === 'log') console.log(JSON.stringify({ event: 'rollout', ...effect.change }));
      if (effect.type === 'refuse') refusal = effect.message;
    }
    return { rollout: this.rollout, refusal };
  }

  /** What could not be stored did not happen. */
  async #store(before: Rollout): Promise<void> {
    const { rollout } = this;
    try {
      await this.persist();
    } catch (error) {
      if (this.rollout === rollout) this.rollout = before;
      throw error;
    }
  }

  /** Counts from an isolate; answers the little that it needs to go on. */
  async observe(encoded: string): Promise<{ serving: Serving; untold: readonly RolloutAlert[] }> {
    await this.apply(encoded);
    return { serving: this.serving(), untold: this.rollout.untold };
  }
}

type Remote = {
  current(): Promise<unknown>;
  serving(): Promise<unknown>;
  apply(encoded: string): Promise<unknown>;
  observe(encoded: string): Promise<unknown>;
};
const remote = (env: Env): Remote =>
  proxyDurable(env.ROLLOUT, { name: 'ROLLOUT', parse: true }).get('rollout') as Remote;
const encode = (command: RolloutCommand): string => encodeURIComponent(JSON.stringify(command));

const untold = rolloutSchema.shape.untold;
const applied = z.object({ rollout: rolloutSchema, refusal: z.string().nullable() });
const observed = z.object({ serving: servingSchema, untold });

/** The stored rollout; rejects when the object cannot be reached or answers something else. */
export const readRollout = async (env: Env): Promise<Rollout> => rolloutSchema.parse(await remote(env).current());

/** The little of it that an isolate needs to choose a model. */
export const readServing = async (env: Env): Promise<Serving> => servingSchema.parse(await remote(env).serving());

/** Applies one event to the stored rollout and answers the new one, or why it was refused. */
export async function changeRollout(env: Env, waiter: Waiter, command: RolloutCommand): Promise<Result<Rollout>> {
  const { rollout, refusal } = applied.parse(await remote(env).apply(encode(command)));
  waiter.waitUntil(tell(env, rollout.untold));
  return refusal === null ? { ok: true, value: rollout } : { ok: false, error: refusal };
}

/** Reports what this isolate has counted, and answers what serves now. */
export async function observeRollout(env: Env, deltas: Deltas): Promise<Serving> {
  const { serving, untold } = observed.parse(await remote(env).observe(encode({ type: 'health', deltas })));
  await tell(env, untold);
  return serving;
}

/** Stores the alerts of the rollout and takes them off its list; what cannot be stored now stays there for the next tick. */
async function tell(env: Env, untold: readonly RolloutAlert[]): Promise<void> {
  if (untold.length === 0) return;
  try {
    await storeAlerts(env, untold);
    await remote(env).apply(encode({ type: 'told', revisions: untold.map(({ revision }) => revision) }));
  } catch (error) {
    console.error(JSON.stringify({ event: 'rollout_not_told', error: String(error), untold }));
  }
}
