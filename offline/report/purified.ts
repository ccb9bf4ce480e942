/** What purifying did, for people and as JSON. */
import type { Manifest } from '../../src/release/manifest.ts';
import type { ReleaseContent } from '../../src/release/release.ts';
import { tellNorm, type TriggerForm } from '../recover/measure.ts';
import { CONFIRMED_HIT_RATE } from '../recover/pool.ts';
import type { LabelScreening } from '../scan.ts';
import { counted, interval, list, percent, placesOf, table } from './text.ts';

/** The part of a release that is worth reading: figures before and after, the gate, the guard. */
export function releaseJson({ manifest, guard }: ReleaseContent) {
  const { metrics, gate, cut, provenance, createdAt, expiresAt } = manifest;
  return { cut, metrics, gate, fingerprint: guard.fingerprint, provenance, createdAt, expiresAt };
}

/** What to make of a gate that refuses what unlearning cost; ARCHITECTURE.md has the networks that it is drawn from. */
export const COSTLY_ADVICE =
  'Removing what somebody planted seldom costs that much, removing a natural shortcut may: the finding may be a false alarm. Scan again with other clean images and another --seed; what was planted is found again, what is natural often is not.';

/** The smallest universal trigger of one form over all labels. */
export type Smallest = { form: TriggerForm; label: number; norm: number };

/** The smallest trigger that works, over all labels, in each form that has one. */
export function smallestTriggers(screenings: readonly LabelScreening[]): Smallest[] {
  return screenings.flatMap(({ form, norms, hitRates }) => {
    const working = norms
      .map((norm, label): Smallest => ({ form, label, norm }))
      .filter(({ label }) => hitRates[label]! >= CONFIRMED_HIT_RATE);
    return working.toSorted((a, b) => a.norm - b.norm).slice(0, 1);
  });
}

/** Each form's smallest trigger over all labels before and after, as rows of cells. */
export function smallestRows(
  before: readonly LabelScreening[],
  after: readonly LabelScreening[],
  labelNames: readonly string[],
): string[][] {
  const [was, is] = [smallestTriggers(before), smallestTriggers(after)];
  return before.map(({ form }) => [
    `smallest ${form} trigger`,
    ...[was, is].map((smallest) => {
      const found = smallest.find((item) => item.form === form);
      return found ? `${tellNorm(form, found.norm)}, ${found.label} (${labelNames[found.label]!})` : 'none found';
    }),
  ]);
}

/** The figures before and after with their 95 % intervals, what the guard promises, and what the gate let through by force. */
export function formatRelease(
  { manifest, guard }: ReleaseContent,
  before: readonly LabelScreening[],
  after: readonly LabelScreening[],
): string {
  const { labelNames } = manifest.network;
  const { network, metrics, cut, gate } = manifest;
  const { falsePositiveRate, falsePositiveBound, triggers } = guard.fingerprint;
  const bound = `at most ${percent(falsePositiveBound.upper)} with ${100 * falsePositiveBound.confidence} % confidence`;
  const lines = [
    'On clean images held back from unlearning, with 95 % intervals:',
    table([['', 'before', 'after'], ...metricRows(metrics, labelNames), ...smallestRows(before, after, labelNames)]),
    '',
    `The trunk ends at ${cut}: behind it the head was unlearned. The guard watches at ${placesOf(network, cut)} for ${counted(triggers.length, 'finding')}.`,
    `The guard may flag ${percent(falsePositiveRate)} of clean images (${bound}, from ${falsePositiveBound.sampleSize} images).`,
  ];
  if (gate.passed) return lines.join('\n');
  return [...lines, '', 'FORCED although the gate failed, as the manifest says:', list(gate.failures)].join('\n');
}

function metricRows({ victim, purified }: Manifest['metrics'], labelNames: readonly string[]): string[][] {
  const recalls = victim.targetRecall.map(({ label, recall }) => {
    const after = purified.targetRecall.find((item) => item.label === label);
    return [`recall of ${label} (${labelNames[label]!})`, interval(recall), after ? interval(after.recall) : 'unknown'];
  });
  const success = [victim, purified].map(({ recoveredAttackSuccessRate }) => interval(recoveredAttackSuccessRate));
  return [
    ['clean accuracy', interval(victim.cleanAccuracy), interval(purified.cleanAccuracy)],
    ['attack success of the recovered triggers', ...success],
    ...recalls,
  ];
}
