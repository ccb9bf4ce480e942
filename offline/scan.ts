/** Scanning: which labels of a model have a trigger, and is it a backdoor or a natural shortcut? */
import { foldBatchNorm } from '../src/network/fold.ts';
import type { Trigger } from '../src/trigger/trigger.ts';
import { digestDataset, type Dataset } from './data/dataset.ts';
import type { Engine } from './engine/engine.ts';
import {
  BACKDOOR_STRENGTH,
  FOREIGN_TRANSFER,
  OUTLIER_INDEX,
  UNINFORMED_STRENGTH,
  gradeLabels,
  isExplained,
  outlierIndexFor,
  strengthOf,
  usualTransfer,
  weighTriggers,
  type Evidence,
  type Grade,
} from './grade.ts';
import { runJobs } from './engine/pool.ts';
import { runReportedJobs } from './jobs.ts';
import type { Model } from './model.ts';
import type { Progress, Report } from './progress.ts';
import { FAINT, faintLabels, labelFaintness } from './recover/faint.ts';
import { climbStaircases, confirmed, CONFIRMED_HIT_RATE } from './recover/pool.ts';
import { measureTriggers, tellNorm, type Measured, type TriggerForm } from './recover/measure.ts';
import type { ReferenceInput } from './recover/reference.ts';
import {
  REMARKABLE_INDEX,
  screenAll,
  searchLabels,
  splitClean,
  type Recovery,
  type Screening,
} from './recover/screening.ts';
import type { StrengthenInput } from './recover/strengthen.ts';

/** What was found for one label; rates are on held-back clean images of other labels. */
export type Finding = {
  targetLabel: number;
  grade: Grade;
  /** What the grade goes by (grade.ts). */
  conviction: number;
  resemblance: number;
  transfer: number | null;
  /** How many spreads the label's smallest trigger lies below the median of all labels, the larger of the masks' and the additions'. */
  anomalyIndex: number;
  /** How many times fainter its dense trigger is than that of the median other label. */
  faintness: number;
  /** Sentences with figures, for people. */
  evidence: string[];
  /** Working recovered triggers, the smallest first. */
  pool: Measured[];
};

/** The smallest universal trigger of every label in each form. */
export type LabelScreening = { form: TriggerForm; norms: number[]; anomalyIndices: number[]; hitRates: number[] };

export type Scan = {
  findings: Finding[];
  screenings: LabelScreening[];
  /** What this scan could not rule out, in sentences. */
  limits: string[];
};

export type ScanOptions = { engine: Engine; seed: number; progress: Progress };

const SUSPECTS = 3;
const STRENGTHEN_STEPS = 100;
const STRENGTHEN_BUDGET = 1.25;
const REFERENCE_STEPS = 250;
const STRENGTHEN = new URL('./recover/strengthen.ts', import.meta.url);
const REFERENCE = new URL('./recover/reference.ts', import.meta.url);

/** The evidence for a label that nothing but dense triggers reach. */
const UNWEIGHED: Evidence = { conviction: 0, resemblance: 0, transfer: null };

const LIMITS = [
  'Only universal triggers were looked for: one that works on most images of other labels. Triggers for single source labels, warps and triggers that depend on the image may be missed.',
  'A backdoor whose smallest trigger is as large as the natural ones, or no more convincing, is not told from them.',
];

/** Scans a model with clean images (U8, fitted to the network by `checkDataset`). */
export async function scan(model: Model, images: Dataset, options: ScanOptions): Promise<Scan> {
  return (await investigate(model, images, options)).scan;
}

/** A scan together with what purifying goes on with: the folded victim and the split of the clean images. */
export async function investigate(
  model: Model,
  images: Dataset,
  { engine, seed, progress }: ScanOptions,
): Promise<{ scan: Scan; victim: Model; recovery: Recovery }> {
  const victim = foldBatchNorm(model.network, model.weights);
  const recovery: Recovery = { ...victim, split: splitClean(images, seed), seed, engine };
  const screenings = await progress.stage(
    'screen',
    `all ${victim.network.labelNames.length} labels, three forms`,
    (report) => screenAll(recovery, report),
  );
  const summaries = screenings.map(summarize);
  const faint = faintLabels(summaries);
  const suspects = [...new Set([...faint, ...suspectLabels(screenings)])];
  const names = suspects.map((label) => victim.network.labelNames[label]).join(', ');
  const { searched, reference } = await progress.stage('search', `${names}; and train a reference`, async (report) => {
    // The search leaves threads idle at its end, so the reference costs little beside it.
    const [searched, reference] = await Promise.all([
      searchLabels(recovery, suspects, faint, report),
      trainReference(recovery),
    ]);
    return { searched, reference };
  });
  const pools = new Map<number, Measured[]>();
  for (const label of suspects) {
    const screened = screenings.flatMap(({ form, labels }) =>
      form === 'dense' && !faint.includes(label) ? [] : labels[label]!,
    );
    const pool = confirmed([...screened, ...searched.filter(({ trigger }) => trigger.targetLabel === label)]);
    if (pool.length) pools.set(label, pool);
  }
  const strengthened = await progress.stage('strengthen', names, (report) => strengthenPools(recovery, pools, report));
  // Dense triggers are told by their amplitude; noise is foreign to any reference.
  const small = screenings.filter(({ form }) => form !== 'dense');
  const weighable = [...strengthened, ...smallestOfForm(pools)].filter(({ form }) => form !== 'dense');
  const evidence = await weighTriggers(recovery, reference, weighable);
  const indexOf = (label: number): number => Math.max(...small.map(({ labels }) => labels[label]!.anomalyIndex));
  const ofEveryLabel = small.flatMap(({ labels }) => labels);
  const outlierIndex = outlierIndexFor(await usualTransfer(recovery, reference, ofEveryLabel));
  const grades = gradeLabels(evidence, indexOf, outlierIndex);
  const findings = [...pools].flatMap(([targetLabel, found]): Finding[] => {
    const [weighedGrade, anomalyIndex] = [grades.get(targetLabel) ?? 'natural shortcut', indexOf(targetLabel)];
    const isPlanted = faint.includes(targetLabel) && !isExplained(evidence.get(targetLabel) ?? UNWEIGHED, outlierIndex);
    const grade = isPlanted ? 'backdoor' : weighedGrade;
    if (grade === 'natural shortcut' && anomalyIndex < REMARKABLE_INDEX) return [];
    // The small triggers of a label whose backdoor is a dense one may be natural, and stay.
    const planted = found.filter(({ form }) => form === 'dense' || weighedGrade === grade);
    const weighed = {
      ...(evidence.get(targetLabel) ?? UNWEIGHED),
      anomalyIndex,
      faintness: labelFaintness(summaries, targetLabel),
    };
    const pool = withStrengthened(planted.length ? planted : found, strengthened);
    return [{ targetLabel, grade, ...weighed, evidence: tell(pool, weighed, outlierIndex), pool }];
  });
  return { scan: { findings, screenings: summaries, limits: LIMITS }, victim, recovery };
}

/** Whether a finding is a backdoor and no natural shortcut. */
export const isBackdoor = ({ grade }: Pick<Finding, 'grade'>): boolean => grade === 'backdoor';

/** The pool of each finding's label, with what its staircase gave. */
export async function climbFindings(
  findings: readonly Finding[],
  recovery: Recovery,
  progress: Progress,
): Promise<Map<number, Measured[]>> {
  if (!findings.length) return new Map();
  const names = findings.map(({ targetLabel }) => recovery.network.labelNames[targetLabel]).join(', ');
  const found = new Map(findings.map(({ targetLabel, pool }) => [targetLabel, pool]));
  return progress.stage('staircase', names, (report) => climbStaircases(recovery, found, report));
}

/**
 * The labels to look into for small triggers: the three with the strongest outliers, be they none. An optimised patch (IMC) is as large as natural
 * triggers, and only a closer look tells it from them.
 */
export function suspectLabels(screenings: readonly Screening[]): number[] {
  const small = screenings.filter(({ form }) => form !== 'dense');
  const indices = small.flatMap(({ labels }) => labels.map(({ anomalyIndex }, label) => ({ label, anomalyIndex })));
  const strongest = indices.toSorted((a, b) => b.anomalyIndex - a.anomalyIndex);
  return [...new Set(strongest.map(({ label }) => label))].slice(0, SUSPECTS);
}

const smallestOfForm = (pools: ReadonlyMap<number, readonly Measured[]>): Measured[] =>
  [...pools.values()].flatMap((pool) =>
    [...Map.groupBy(pool, ({ form }) => form).values()].map((sameForm) => sameForm[0]!),
  );

async function strengthenPools(
  recovery: Recovery,
  pools: ReadonlyMap<number, readonly Measured[]>,
  report: Report,
): Promise<Measured[]> {
  const { network, weights, split, seed, engine } = recovery;
  const groups = [...Map.groupBy(smallestOfForm(pools), ({ form }) => form)];
  const jobs = groups.map(([, starts]): StrengthenInput => {
    const triggers = starts.map(({ trigger }) => trigger);
    const budgets = triggers.map(() => STRENGTHEN_BUDGET);
    return { network, weights, images: split.learn, triggers, budgets, steps: STRENGTHEN_STEPS, seed };
  });
  const strengthened = await runReportedJobs<StrengthenInput, Trigger[]>(STRENGTHEN, jobs, { engine, report });
  const candidates = groups.flatMap(([form], index) => strengthened[index]!.map((trigger) => ({ form, trigger })));
  return measureTriggers(recovery, split.heldBack, candidates);
}

/** References of this process: several models are often scanned with the same images. */
const references = new Map<string, Model>();

/** The network that never saw a trigger. */
async function trainReference({ network, split, seed, engine }: Recovery): Promise<Model> {
  const key = [digestDataset(split.learn), network.labelNames.length, seed, engine.kind].join();
  const known = references.get(key);
  if (known) return known;
  const input: ReferenceInput = {
    images: split.learn,
    labelNames: network.labelNames,
    steps: REFERENCE_STEPS,
    seed,
  };
  const [reference] = await runJobs<ReferenceInput, Model>(REFERENCE, [input], { threads: 1, engine: engine.kind });
  references.set(key, reference!);
  return reference!;
}

function tell(
  pool: readonly Measured[],
  weighed: Evidence & Pick<Finding, 'anomalyIndex' | 'faintness'>,
  outlierIndex: number,
): string[] {
  const { conviction, resemblance, transfer, anomalyIndex, faintness } = weighed;
  const smallest = pool.map(
    ({ form, norm, hitRate }) => `${form} of ${tellNorm(form, norm)} (${(100 * hitRate).toFixed(0)} %)`,
  );
  const percent = (share: number): string => `${(100 * share).toFixed(0)} %`;
  const isInformed = outlierIndex < OUTLIER_INDEX;
  const far = isInformed ? `, or any strength if it is foreign and lies ${OUTLIER_INDEX} spreads below` : '';
  const needed = isInformed ? BACKDOOR_STRENGTH : `${UNINFORMED_STRENGTH} (an outlier ${BACKDOOR_STRENGTH})`;
  return [
    `${pool.length} recovered triggers work on held-back images, the smallest: ${smallest.slice(0, 2).join(', ')}.`,
    `A dense trigger reaches the label at ${faintness.toFixed(1)} times less amplitude than the median other label needs (a backdoor from ${FAINT} on, unless a reference explains the label).`,
    `The label's smallest trigger lies ${anomalyIndex.toFixed(1)} spreads below the median of all labels (an outlier from ${outlierIndex} on here).`,
    `Strengthened by a quarter of its norm, it carries the median image ${conviction.toFixed(2)} times as far beyond the boundary as clean images lie from it.`,
    `${percent(resemblance)} of what it changes in the trunk the label's own images show too.`,
    transfer === null
      ? 'A reference network trained on the clean images alone does not know the label.'
      : `It carries a reference network, trained on the clean images alone, ${percent(transfer)} of the way to the label (foreign up to ${percent(FOREIGN_TRANSFER)}).`,
    `Its strength, what is left of the conviction, is ${strengthOf(weighed).toFixed(2)}; a backdoor has ${needed}, or anything above 0 if it is an outlier and foreign${far}.`,
  ];
}

/** A label's pool with its strengthened triggers, which lie nearer to what was planted. */
function withStrengthened(pool: readonly Measured[], strengthened: readonly Measured[]): Measured[] {
  const own = strengthened.filter(
    ({ form, trigger, hitRate }) =>
      trigger.targetLabel === pool[0]!.trigger.targetLabel &&
      pool.some((item) => item.form === form) &&
      hitRate >= CONFIRMED_HIT_RATE,
  );
  return [...pool, ...own].toSorted((a, b) => a.norm - b.norm);
}

/** A screening without its triggers. */
export function summarize({ form, labels }: Screening): LabelScreening {
  return {
    form,
    norms: labels.map(({ norm }) => norm),
    anomalyIndices: labels.map(({ anomalyIndex }) => anomalyIndex),
    hitRates: labels.map(({ hitRate }) => hitRate),
  };
}
