/** The proof of an unlearning, a recovery with a new seed: does it find the trigger again, and what else does it find for that label? */
import type { FreshRecovery } from '../../src/release/gate.ts';
import { anomalyIndex } from '../../src/trigger/anomaly.ts';
import type { Trigger } from '../../src/trigger/trigger.ts';
import { isFaint } from './faint.ts';
import { isCovering, tellNorm, type Measured, type ScreenedForm, type TriggerForm } from './measure.ts';
import { confirmed } from './pool.ts';
import { REMARKABLE_INDEX } from './screening.ts';

/** A fresh trigger can be the old one if it is smaller than this many times the victim's smallest of its form. */
const STILL_THERE = 1.5;

/**
 * Whether a fresh recovery found the trigger of each unlearned label again: one that works, is not much larger than the victim's and is
 * still remarkably small beside `screened`, the smallest triggers [label] of the victim, of the labels that have no backdoor. Every
 * model has natural triggers, so one as large as theirs proves nothing. Noise among them counts whatever its size, where the victim was told by noise.
 */
export function freshEvidence(
  pools: ReadonlyMap<number, readonly Measured[]>,
  fresh: readonly Measured[],
  screened: readonly { form: ScreenedForm; norms: readonly number[] }[],
): FreshRecovery[] {
  return [...pools].map(([targetLabel, pool]) => {
    const again = least(pool, 'noise', targetLabel) && least(fresh, 'noise', targetLabel);
    const sentences = screened.flatMap(({ form, norms }) => {
      const [before, after] = [least(pool, form, targetLabel), least(fresh, form, targetLabel)];
      const natural = norms.filter((_, label) => !pools.has(label));
      if (!before || !after || after.norm >= STILL_THERE * before.norm) return [];
      const small = isCovering(form) ? isFaint(form, after.norm, natural) : isRemarkable(after.norm, natural);
      if (!small) return [];
      return [
        `${form} of ${tellNorm(form, after.norm)} works on ${percent(after.hitRate)} (the victim's: ${tellNorm(form, before.norm)})`,
      ];
    });
    if (again) sentences.push(`noise of ${tellNorm('noise', again.norm)} works on ${percent(again.hitRate)}`);
    return { targetLabel, found: sentences.length > 0, evidence: sentences.join('; ') || 'nothing as small' };
  });
}

/** The fresh triggers of each label whose trigger was found again, in all the forms that the victim's had: what is unlearned of one form alone is made up for in the other. */
export function lingeringTriggers(
  pools: ReadonlyMap<number, readonly Measured[]>,
  fresh: readonly Measured[],
  found: readonly FreshRecovery[],
): Trigger[] {
  const again = found.filter((recovery) => recovery.found);
  return again.flatMap(({ targetLabel }) => {
    const forms = new Set(pools.get(targetLabel)!.map(({ form }) => form));
    const own = fresh.filter(({ form, trigger }) => trigger.targetLabel === targetLabel && forms.has(form));
    return confirmed(own).map(({ trigger }) => trigger);
  });
}

const percent = (rate: number): string => `${(100 * rate).toFixed(0)} %`;

const isRemarkable = (norm: number, natural: readonly number[]): boolean =>
  !natural.length || anomalyIndex(norm, natural) >= REMARKABLE_INDEX;

/** The smallest trigger of one form and label that works. */
const least = (from: readonly Measured[], form: TriggerForm, targetLabel: number): Measured | undefined =>
  confirmed(from.filter((item) => item.form === form && item.trigger.targetLabel === targetLabel))[0];
