import type { Candidate } from '../../offline/recover/measure.ts';
import type { Trigger } from '../../src/trigger/trigger.ts';

/** Triggers as if each had been recovered in the form that its kind names. */
export const asCandidates = (triggers: readonly Trigger[]): Candidate[] =>
  triggers.map((trigger) => ({ form: trigger.kind, trigger }));
