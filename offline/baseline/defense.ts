/**
 * Every defence behind one interface, so that the bench compares methods and not surroundings: all learn from the same 70 % of
 * the clean images and measure what they choose on the other 30 %, none sees the true trigger or evaluation data, all batches but ours (which
 * are mirrored and mixed too, views.ts) are drawn and shifted alike, and those that need triggers get the same recovered ones.
 */
import type { Trigger } from '../../src/trigger/trigger.ts';
import type { Dataset } from '../data/dataset.ts';
import type { Engine } from '../engine/engine.ts';
import { runReportedJobs } from '../jobs.ts';
import type { Model } from '../model.ts';
import type { Report } from '../progress.ts';
import type { Split } from '../recover/screening.ts';
import { ASCENT_WEIGHTS, type Ascent, type AscentWeights } from '../unlearn/ascent.ts';
import type { Unlearned } from '../unlearn/late.ts';
import type { Forgotten } from '../unlearn/rounds.ts';
import type { HostWeights } from '../../src/network/safetensors.ts';
import type { Distillation } from './distill.ts';
import { BATCH, type FineTuning, type Tuning } from './fine-tune.ts';
import type { PlainAscent } from './plain-ascent.ts';
import { choosePruning, pruningPlace } from './prune.ts';
import type { SharpnessAware } from './sharpness.ts';

export type DefenseInput = {
  /** The victim; its batch norm is folded (fold.ts) as far as it can be. */
  model: Model;
  split: Split;
  seed: number;
  engine: Engine;
  report: Report;
  /** The recovered triggers of each label that was graded a backdoor; empty for a defence that needs none. */
  pools: readonly (readonly Trigger[])[];
  /** Late unlearning of these pools, done once a victim, since the guard needs the cut too. */
  forgotten: () => Promise<Pick<Forgotten, 'cut' | 'weights'>>;
};

export type Defense = {
  name: string;
  source: string;
  /** Where this implementation differs from its source. */
  differs: readonly string[];
  /** Whether it works on recovered triggers; without any it is not run, and the model stays as it is. */
  needsTriggers: boolean;
  run(input: DefenseInput): Promise<Model>;
};

/** As BackdoorBench tunes (PreAct-ResNet-18, CIFAR-10): 100 passes over the clean images, SGD at 0.01 with momentum 0.9. */
const EPOCHS = 100;
const LEARNING_RATE = 0.01;
const TEACHER_EPOCHS = 10;
const RELABEL = { learningRate: 5e-3, share: 0.5 };
const CLEANSE_SHARE = 0.2;
const ASCENT = { epochs: 10, learningRate: 2e-3 };
export const BAERASER_STEPS = 150;
const RHO = 2;

const FINE_TUNE = new URL('./fine-tune.ts', import.meta.url);
const DISTILL = new URL('./distill.ts', import.meta.url);
const SHARPNESS = new URL('./sharpness.ts', import.meta.url);
const PLAIN_ASCENT = new URL('./plain-ascent.ts', import.meta.url);
const PAPER_ASCENT = new URL('../unlearn/ascent.ts', import.meta.url);

const FOLDED = 'Batch norm is folded into the weights before, so its statistics do not adapt.';
const TUNED =
  'One-cycle learning rate, batches of 64, images shifted by up to a fourteenth of their side, never flipped.';
const SCANNED =
  'Labels are those that this project grades as backdoors, triggers its own: any size, place and form, masks and additive patterns.';

const tuning = ({ model, split, seed }: DefenseInput, epochs: number, peakLearningRate: number): Tuning => ({
  ...model,
  images: split.learn,
  steps: passes(split.learn, epochs),
  peakLearningRate,
  seed,
});

const passes = (images: Dataset, epochs: number): number => Math.ceil((epochs * images.count) / BATCH);

async function runJob<Job extends { steps: number }>(
  { model, engine, report }: DefenseInput,
  module: URL,
  job: Job,
): Promise<Model> {
  const [weights] = await runReportedJobs<Job, HostWeights>(module, [job], { engine, report });
  return { ...model, weights: weights! };
}

const fineTune = (
  input: DefenseInput,
  further: Pick<FineTuning, 'stamped' | 'masks'> = {},
  learningRate = LEARNING_RATE,
): Promise<Model> => runJob<FineTuning>(input, FINE_TUNE, { ...tuning(input, EPOCHS, learningRate), ...further });

async function finePrune(input: DefenseInput): Promise<Model> {
  const place = pruningPlace(input.model.network);
  if (!place) return fineTune(input);
  return fineTune(input, { masks: new Map([[place.kernel, await choosePruning(input.model, place, input.split)]]) });
}

async function distill(input: DefenseInput): Promise<Model> {
  const teacher = await runJob<FineTuning>(input, FINE_TUNE, tuning(input, TEACHER_EPOCHS, LEARNING_RATE));
  const job = { ...tuning(input, EPOCHS, LEARNING_RATE), teacher: teacher.weights };
  return runJob<Distillation>(input, DISTILL, job);
}

/** The smallest mask of each label; a label with additive triggers only has none. */
const smallestMasks = (pools: DefenseInput['pools']): Trigger[] =>
  pools.flatMap((pool) => pool.find(({ kind }) => kind === 'blend') ?? []);

async function cleanse(input: DefenseInput): Promise<Model> {
  const triggers = smallestMasks(input.pools);
  return triggers.length ? fineTune(input, { stamped: { triggers, share: CLEANSE_SHARE } }) : input.model;
}

/** The paper's unlearning with given weights of its loss. */
export async function unlearnByAscent(input: DefenseInput, weights: AscentWeights, steps: number): Promise<Model> {
  const { model, split, seed, pools, engine, report } = input;
  const job = { ...model, cut: '', images: split.learn, triggers: pools.flat(), steps, seed };
  const jobs = [{ ...job, ...weights }];
  const [unlearned] = await runReportedJobs<Ascent, Unlearned>(PAPER_ASCENT, jobs, { engine, report });
  return { ...model, weights: unlearned!.weights };
}

export const PAPER_METHOD: Defense = {
  name: 'baeraser',
  source: 'Liu et al., INFOCOM 2022, arXiv 2201.09538, eq. 4',
  differs: [
    FOLDED,
    SCANNED,
    'Omega is divided by its mean, ascent is capped, the number of steps is fixed (offline/unlearn/ascent.ts).',
  ],
  needsTriggers: true,
  run: (input) => unlearnByAscent(input, ASCENT_WEIGHTS, BAERASER_STEPS),
};

/** The defences by the names that grids and records know. */
export const DEFENSES: readonly Defense[] = [
  {
    name: 'none',
    source: 'the victim as it is',
    differs: [],
    needsTriggers: false,
    run: async ({ model }) => model,
  },
  {
    name: 'fine-tuning',
    source: 'Liu et al., RAID 2018, arXiv 1805.12185; settings of BackdoorBench',
    differs: [FOLDED, TUNED],
    needsTriggers: false,
    run: (input) => fineTune(input),
  },
  {
    name: 'fine-pruning',
    source: 'Liu et al., RAID 2018, arXiv 1805.12185; settings of BackdoorBench',
    differs: [
      FOLDED,
      TUNED,
      'Channels are pruned where the first dense layer reads them, a twentieth at a time, while held-back accuracy stays above nine tenths.',
    ],
    needsTriggers: false,
    run: finePrune,
  },
  {
    name: 'attention-distillation',
    source: 'Li et al., ICLR 2021, arXiv 2101.05930 (NAD); settings of BackdoorBench',
    differs: [FOLDED, TUNED, 'The maps are taken at the last cut of each of the last three resolutions.'],
    needsTriggers: false,
    run: distill,
  },
  {
    name: 'ft-sam',
    source: 'Zhu et al., ICCV 2023, arXiv 2304.11823; settings of BackdoorBench',
    differs: [FOLDED, TUNED],
    needsTriggers: false,
    run: (input) => runJob<SharpnessAware>(input, SHARPNESS, { ...tuning(input, EPOCHS, LEARNING_RATE), rho: RHO }),
  },
  {
    name: 'neural-cleanse',
    source: 'Wang et al., IEEE S&P 2019, its mitigation by unlearning',
    differs: [FOLDED, TUNED, 'Labels are those that this project grades as backdoors, masks the smallest of them.'],
    needsTriggers: true,
    run: cleanse,
  },
  {
    name: 'relabel',
    source: 'Qiao et al., NeurIPS 2019, arXiv 1910.04749 (MESA)',
    differs: [
      FOLDED,
      TUNED,
      SCANNED,
      'Half of the images carry a trigger, where the code has 1 %; 100 passes at 0.005.',
    ],
    needsTriggers: true,
    run: (input) => {
      const stamped = { triggers: input.pools.flat(), share: RELABEL.share };
      return fineTune(input, { stamped }, RELABEL.learningRate);
    },
  },
  {
    name: 'gradient-ascent',
    source: 'BAERASER, arXiv 2201.09538, without its clean term and its penalty',
    differs: [FOLDED, TUNED, SCANNED, 'Ascent stops where the cross-entropy of the target reaches 6.'],
    needsTriggers: true,
    run: (input) => {
      const job = { ...tuning(input, ASCENT.epochs, ASCENT.learningRate), triggers: input.pools.flat() };
      return runJob<PlainAscent>(input, PLAIN_ASCENT, job);
    },
  },
  PAPER_METHOD,
  {
    name: 'ours',
    source:
      'this project: offline/unlearn/late.ts behind the cut of offline/unlearn/cut.ts, in the rounds of offline/unlearn/rounds.ts',
    differs: [],
    needsTriggers: true,
    run: async ({ model, forgotten }) => ({ ...model, weights: (await forgotten()).weights }),
  },
];
