/** The state of the rollout as it is stored, and how older code's state is read. */
import * as z from 'zod';
import { failure, success, type Result } from '../result.ts';
import { countsSchema } from './health.ts';
import { planSchema } from './plan.ts';

/** How many changes the history keeps, how many failed releases are remembered, how many alerts wait to be told. */
export const HISTORY_LIMIT = 100;
export const FAILED_LIMIT = 100;
export const UNTOLD_LIMIT = 100;

const digest = z.string().regex(/^[0-9a-f]{64}$/, 'expected 64 lower-case hexadecimal digits');
const at = z.iso.datetime();
const said = { actor: z.string(), reason: z.string(), at };

/** That a release was taken back, or that the rollout stopped by itself: part of the state until somebody confirms that it is stored. */
const rolloutAlert = z.strictObject({
  kind: z.enum(['rollout-paused', 'rollout-rolled-back']),
  release: digest,
  revision: z.int(),
  reason: z.string(),
});
export type RolloutAlert = z.infer<typeof rolloutAlert>;

/** What can happen to the rollout: `activate` serves all at once, `start` begins a plan, `advance` is its next step. */
export const changeTypes = [
  'activate',
  'start',
  'advance',
  'pause',
  'resume',
  'promote',
  'abort',
  'roll-back',
  'undo',
] as const;

/** One change, to the release `digest`; `previous` was stable before it, `canaryPercent` of the clients get `digest` after it. */
const change = z.strictObject({
  revision: z.int(),
  type: z.enum(changeTypes),
  digest,
  previous: digest.nullable(),
  canaryPercent: z.number(),
  ...said,
});
export type Change = z.infer<typeof change>;

/** What was counted since the step began. */
const evidence = z.strictObject({ canary: countsSchema, stable: countsSchema });
export type Evidence = z.infer<typeof evidence>;

const canary = z.strictObject({
  digest,
  /** Makes the assignment of clients differ from rollout to rollout. */
  salt: z.string(),
  plan: planSchema,
  stepIndex: z.int().min(0),
  stepStartedAt: at,
  evidence,
  /** Who stopped the clock of the plan and why; clients keep what they have. */
  paused: z.strictObject(said).nullable(),
});
export type Canary = z.infer<typeof canary>;

const failed = z.strictObject({ digest, revision: z.int(), reason: z.string(), at });

export const rolloutSchema = z.strictObject({
  version: z.literal(2),
  revision: z.int().min(0),
  /** Serves every client that does not get the canary. */
  stable: digest.nullable(),
  /** What was stable before, for undo. */
  previousStable: digest.nullable(),
  canary: canary.nullable(),
  /** Releases that were rolled back; none serves before it is started anew. */
  failed: z.array(failed).readonly(),
  /** Alerts that nobody has confirmed yet. */
  untold: z.array(rolloutAlert).readonly(),
  history: z.array(change).readonly(),
});
export type Rollout = z.infer<typeof rolloutSchema>;

export const emptyRollout: Rollout = {
  version: 2,
  revision: 0,
  stable: null,
  previousStable: null,
  canary: null,
  failed: [],
  untold: [],
  history: [],
};

/** What the code before canaries stored: no version, and changes that all were activations. */
const firstVersion = z.strictObject({
  revision: z.int().min(0),
  stable: digest.nullable(),
  history: z.array(change.omit({ canaryPercent: true }).extend({ type: z.literal('activate') })),
});

/** Reads what an object has stored, whichever version of the code stored it; the error says what does not fit. */
export function readStored(stored: unknown): Result<Rollout> {
  const current = rolloutSchema.safeParse(stored);
  if (current.success) return success(current.data);
  const first = firstVersion.safeParse(stored);
  if (!first.success) {
    const { path, message } = current.error.issues[0]!;
    return failure(`rollout: the stored state is not readable: ${path.join('.')}: ${message}`);
  }
  const { revision, stable, history } = first.data;
  return success({
    ...emptyRollout,
    revision,
    stable,
    previousStable: history.at(-1)?.previous ?? null,
    history: history.map((change) => ({ ...change, canaryPercent: 100 })),
  });
}

/** What an isolate has to know to choose a model; fields that are added later do not disturb older code. */
export const servingSchema = z.object({
  revision: z.int(),
  stable: digest.nullable(),
  canary: z.object({ digest, salt: z.string(), canaryPercent: z.number() }).nullable(),
  /** What must not serve, also not where the stable release is refused. */
  failed: z.array(digest),
});
export type Serving = z.infer<typeof servingSchema>;

/** What serves now. */
export function servingOf({ revision, stable, canary, failed }: Rollout): Serving {
  return {
    revision,
    stable,
    canary: canary && { digest: canary.digest, salt: canary.salt, canaryPercent: percentOf(canary) },
    failed: failed.map(({ digest }) => digest),
  };
}

/** The percentage of clients that get the canary now. */
export const percentOf = ({ plan, stepIndex }: Canary): number => plan[stepIndex]!.canaryPercent;

const phases = {
  activate: 'activated',
  promote: 'promoted',
  'roll-back': 'rolled-back',
  abort: 'aborted',
  undo: 'undone',
  start: 'running',
  advance: 'running',
  resume: 'running',
  pause: 'paused',
} as const;

/** Where the latest change left the rollout, `none` before the first. */
export function phaseOf({ history }: Rollout): (typeof phases)[Change['type']] | 'none' {
  const latest = history.at(-1);
  return latest ? phases[latest.type] : 'none';
}
