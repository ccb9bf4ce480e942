/** The last proof of an unlearning: does a recovery with a new seed find the trigger again? */
import type { FreshRecovery } from '../../src/release/gate.ts';
import { anomalyIndex } from '../../src/trigger/anomaly.ts';
import type { TriggerKind } from '../../src/trigger/trigger.ts';
import type { Measured } from './measure.ts';
import { CONFIRMED_HIT_RATE } from './pool.ts';
import { REMARKABLE_INDEX } from './screening.ts';

/** A fresh trigger can be the old one if it is smaller than this many times the victim's smallest of its form. */
const STILL_THERE = 1.5;

/**
 * Whether a fresh recovery found the trigger of each unlearned label again: one that works, is not much larger than the victim's and is
 * still remarkably small beside `screened`, the smallest triggers [label] of the victim, of the labels that have no backdoor. Every
 * model has natural triggers, so one as large as theirs proves nothing.
 */
export function freshEvidence(
  pools: ReadonlyMap<number, readonly Measured[]>,
  fresh: readonly Measured[],
  screened: readonly { kind: TriggerKind; norms: readonly number[] }[],
): FreshRecovery[] {
  return [...pools].map(([targetLabel, pool]) => {
    const sentences = screened.flatMap(({ kind, norms }) => {
      const [before, after] = [least(pool, kind, targetLabel), least(fresh, kind, targetLabel)];
      const natural = norms.filter((_, label) => !pools.has(label));
      if (!before || !after || after.norm >= STILL_THERE * before.norm) return [];
      if (natural.length && anomalyIndex(after.norm, natural) < REMARKABLE_INDEX) return [];
      const rate = `${(100 * after.hitRate).toFixed(0)} %`;
      return [`${kind} of norm ${after.norm.toFixed(1)} works on ${rate} (the victim's: ${before.norm.toFixed(1)})`];
    });
    return { targetLabel, found: sentences.length > 0, evidence: sentences.join('; ') || 'nothing as small' };
  });
}

/** The smallest trigger of one form and label that works. */
function least(from: readonly Measured[], kind: TriggerKind, targetLabel: number): Measured | undefined {
  return from
    .filter(({ trigger, hitRate }) => {
      return trigger.kind === kind && trigger.targetLabel === targetLabel && hitRate >= CONFIRMED_HIT_RATE;
    })
    .toSorted((a, b) => a.norm - b.norm)[0];
}
