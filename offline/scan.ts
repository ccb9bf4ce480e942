/** Scanning: which labels of a model have a trigger, and is it a backdoor or a natural shortcut? */
import { foldBatchNorm } from '../src/network/fold.ts';
import type { Trigger } from '../src/trigger/trigger.ts';
import { digestDataset, type Dataset } from './data/dataset.ts';
import type { Engine } from './engine/engine.ts';
import { tellEvidence } from './evidence.ts';
import {
  gradeByAdvantage,
  gradeLabels,
  isExplained,
  isInformed,
  usualTransfer,
  weighTriggers,
  type Evidence,
  type Grade,
} from './grade.ts';
import { runJobs } from './engine/pool.ts';
import { runReportedJobs } from './jobs.ts';
import type { Model } from './model.ts';
import type { Progress, Report } from './progress.ts';
import { labelAdvantages } from './recover/advantage.ts';
import { faintLabels, isFaintIn, labelFaintness, type FaintLabel } from './recover/faint.ts';
import { measureNoise, noisyLabels, type Noise } from './recover/noise.ts';
import { confirmed, CONFIRMED_HIT_RATE } from './recover/pool.ts';
import {
  isCovering,
  isOnGrid,
  measureTriggers,
  type CoveringForm,
  type Measured,
  type ScreenedForm,
  type TriggerForm,
} from './recover/measure.ts';
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
  /** How many times fainter its trigger over the whole image is, in each form, than that of the median other label. */
  faintness: Record<CoveringForm, number>;
  /** How many spreads the label stands out from the others by the size and the conviction of its triggers (recover/advantage.ts); null where it was not asked. */
  advantage: number | null;
  /** How often noise reaches the label that is as faint as planted noise may be (recover/noise.ts); null where it was not asked. */
  noiseHitRate: number | null;
  /** Sentences with figures, for people. */
  evidence: string[];
  /** Working recovered triggers, the smallest first. */
  pool: Measured[];
};

/** The smallest universal trigger of every label in each form. */
export type LabelScreening = { form: ScreenedForm; norms: number[]; anomalyIndices: number[]; hitRates: number[] };

export type Scan = {
  findings: Finding[];
  screenings: LabelScreening[];
  /** The faintest dense trigger of every label. */
  dense: Trigger[];
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

/** The evidence for a label that nothing but triggers over the whole image reach. */
const UNWEIGHED: Evidence = { conviction: 0, resemblance: 0, transfer: null };

const LIMITS = [
  'Only universal triggers were looked for: one that works on most images of other labels. Triggers for single source labels and those that depend on the image may be missed.',
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
  const survey = await surveyLabels(recovery, progress);
  const pools = await poolSuspects(recovery, survey, progress);
  const strengthened = await progress.stage('strengthen', namesOf(recovery, [...pools.keys()]), (report) =>
    strengthenPools(recovery, pools, report),
  );
  const findings = await gradeSuspects(recovery, survey, pools, strengthened);
  const dense = survey.screenings.flatMap(({ form, labels }) =>
    form === 'dense' ? labels.map(({ trigger }) => trigger) : [],
  );
  return { scan: { findings, screenings: survey.summaries, dense, limits: LIMITS }, victim, recovery };
}

/** What is known of every label; `small` are the screenings for triggers of small norm, `advantages` is null where the reference explains what is natural. */
type Survey = {
  screenings: readonly Screening[];
  small: readonly Screening[];
  summaries: LabelScreening[];
  reference: Model;
  noise: Noise | null;
  faint: FaintLabel[];
  advantages: ReadonlyMap<number, number> | null;
};

async function surveyLabels(recovery: Recovery, progress: Progress): Promise<Survey> {
  const all = `all ${recovery.network.labelNames.length} labels`;
  // The screening leaves threads idle at its end, so the reference costs little beside it.
  const [screenings, reference] = await progress.stage(
    'screen',
    `${all}, five forms; and train a reference`,
    (report) => Promise.all([screenAll(recovery, report), trainReference(recovery)]),
  );
  const small = screenings.filter(({ form }) => !isCovering(form));
  const usual = await usualTransfer(
    recovery,
    reference,
    small.flatMap(({ labels }) => labels),
  );
  const advantages = isInformed(usual)
    ? null
    : await progress.stage('strengthen', `${all}, to one norm`, (report) =>
        labelAdvantages(recovery, screenings, report),
      );
  const summaries = screenings.map(summarize);
  // What noise does by nature the reference does not say, and need not where it explains the rest.
  const noise = advantages && (await measureNoise(recovery, summaries));
  const faint = [...faintLabels(summaries), ...noisyLabels(noise)];
  return { screenings, small, summaries, reference, noise, faint, advantages };
}

const namesOf = ({ network }: Recovery, labels: readonly number[]): string =>
  labels.map((label) => network.labelNames[label]).join(', ');

/** The working triggers of each label that is worth a closer look. */
async function poolSuspects(
  recovery: Recovery,
  { screenings, noise, faint, advantages }: Survey,
  progress: Progress,
): Promise<Map<number, Measured[]>> {
  const planted = [...gradeByAdvantage(advantages ?? new Map())].flatMap(([label, grade]) =>
    grade === 'backdoor' ? label : [],
  );
  const told = [...new Set([...planted, ...faint.map(({ label }) => label)])];
  const suspects = [...new Set([...told, ...suspectLabels(screenings)])];
  // A closer look at the others would change no grade where labels are told by their advantage.
  const searchedFor = advantages ? told : suspects;
  const found = searchedFor.length
    ? await progress.stage('search', namesOf(recovery, searchedFor), (report) =>
        searchLabels(recovery, searchedFor, faint, report),
      )
    : [];
  const searched = [...found, ...(noise?.triggers ?? [])];
  const pools = new Map<number, Measured[]>();
  for (const label of suspects) {
    const screened = screenings.flatMap(({ form, labels }) =>
      isCovering(form) && !isFaintIn(faint, form, label) ? [] : labels[label]!,
    );
    const pool = confirmed([...screened, ...searched.filter(({ trigger }) => trigger.targetLabel === label)]);
    if (pool.length) pools.set(label, pool);
  }
  return pools;
}

async function gradeSuspects(
  recovery: Recovery,
  { small, summaries, reference, noise, faint, advantages }: Survey,
  pools: ReadonlyMap<number, Measured[]>,
  strengthened: readonly Measured[],
): Promise<Finding[]> {
  // What covers the image is told by its amplitude; noise is foreign to any reference.
  const weighable = [...strengthened, ...smallestOfForm(pools)].filter(({ form }) => !isCovering(form));
  const evidence = await weighTriggers(recovery, reference, weighable);
  const indexOf = (label: number): number => Math.max(...small.map(({ labels }) => labels[label]!.anomalyIndex));
  const grades = advantages ? gradeByAdvantage(advantages) : gradeLabels(evidence, indexOf);
  // A network in which labels are told by their advantage is easily led astray by noise of its own, but not by what is smooth.
  const telling = faint.filter(({ form }) => !advantages || form !== 'dense');
  const isFaintLabel = (targetLabel: number): boolean => telling.some(({ label }) => label === targetLabel);
  return [...pools].flatMap(([targetLabel, found]): Finding[] => {
    const weighed = {
      ...(evidence.get(targetLabel) ?? UNWEIGHED),
      anomalyIndex: indexOf(targetLabel),
      faintness: labelFaintness(summaries, targetLabel),
      advantage: advantages?.get(targetLabel) ?? null,
      noiseHitRate: noise?.hitRates[targetLabel] ?? null,
    };
    const weighedGrade = grades.get(targetLabel) ?? 'natural shortcut';
    const grade = isFaintLabel(targetLabel) && !isExplained(weighed) ? 'backdoor' : weighedGrade;
    if (grade === 'natural shortcut' && weighed.anomalyIndex < REMARKABLE_INDEX) return [];
    // The small triggers of a label whose backdoor covers the image may be natural, and stay; beside planted noise so may all others.
    const isNoisy = isFaintIn(telling, 'noise', targetLabel);
    const isToldBy = (form: TriggerForm): boolean => (isNoisy ? form === 'noise' : isCovering(form));
    const own = found.filter(({ form }) => weighedGrade === grade || isToldBy(form));
    const pool = withStrengthened(own.length ? own : found, strengthened);
    return [{ targetLabel, grade, ...weighed, evidence: tellEvidence(pool, weighed), pool }];
  });
}

/** Whether a finding is a backdoor and no natural shortcut. */
export const isBackdoor = ({ grade }: Pick<Finding, 'grade'>): boolean => grade === 'backdoor';

/**
 * The labels to look into for small triggers: the three with the strongest outliers, be they none. An optimised patch (IMC) is as large as natural
 * triggers, and only a closer look tells it from them.
 */
export function suspectLabels(screenings: readonly Screening[]): number[] {
  const small = screenings.filter(({ form }) => !isCovering(form));
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
  const starts = smallestOfForm(pools).filter(({ form }) => !isOnGrid(form) && form !== 'noise');
  const groups = [...Map.groupBy(starts, ({ form }) => form)];
  const jobs = groups.map(([, sameForm]): StrengthenInput => {
    const triggers = sameForm.map(({ trigger }) => trigger);
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
