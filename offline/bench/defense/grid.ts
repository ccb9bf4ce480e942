/** The grids of the bench as data: which victims are made, which methods meet them, and with how many images. */
import * as z from 'zod';
import { attackSchema, type Attack, type GivenAttack } from '../../attack/attack.ts';
import { ARCHITECTURES } from '../../attack/networks.ts';
import { DEFENSES } from '../../baseline/defense.ts';
import { DETECTORS } from '../../baseline/detector.ts';
import { BALANCE_VARIANTS, STEP_VARIANTS } from '../../baseline/variants.ts';

/** `example`: the committed 2,000 test images of Fashion-MNIST, parted into images to train on and others. */
export const DATA = ['example', 'mnist', 'fashion', 'cifar10', 'cifar100'] as const;
export type DataName = (typeof DATA)[number];

const one = { poisonRate: 0.05, targetLabel: 0 };
/** What each attack of the grids is; target label, architecture, epochs and seed come from the cell. */
const ATTACKS = {
  none: { kind: 'none' },
  'badnets-3': { kind: 'badnets', patchSize: 3, ...one },
  'badnets-5': { kind: 'badnets', patchSize: 5, ...one },
  'badnets-7': { kind: 'badnets', patchSize: 7, ...one },
  'badnets-moved': { kind: 'badnets', patchSize: 5, place: 'random', ...one },
  trojannn: { kind: 'trojannn', patchSize: 5, ...one },
  imc: { kind: 'imc', patchSize: 5, ...one },
  blended: { kind: 'blended', alpha: 0.15, ...one },
  signal: { kind: 'signal', amplitude: 0.15, frequency: 6, ...one },
  additive: { kind: 'additive', amplitude: 0.1, share: 1, ...one },
  sparse: { kind: 'additive', amplitude: 0.8, share: 0.03, ...one },
  wanet: { kind: 'wanet', grid: 4, strength: 0.75, noiseRatio: 2, targetLabel: 0, poisonRate: 0.1 },
  'two-triggers': { kind: 'badnets', patchSize: 5, targets: { form: 'several', furtherLabels: [5] }, ...one },
  'one-source': { kind: 'badnets', patchSize: 5, targets: { form: 'source', sourceLabel: 5 }, ...one },
  'clean-label': { kind: 'badnets', patchSize: 5, targets: { form: 'clean-label' }, ...one },
  hidden: { kind: 'hidden', patchSize: 4, hiding: 1, ...one },
  mimic: { kind: 'mimic', alpha: 0.3, ...one },
  'all-to-all': { kind: 'badnets', patchSize: 5, targets: { form: 'all-to-all' }, targetLabel: 0, poisonRate: 0.1 },
} satisfies Record<string, DistributiveOmit<GivenAttack, 'epochs' | 'seed'>>;
type DistributiveOmit<T, Key extends PropertyKey> = T extends unknown ? Omit<T, Key> : never;
export type AttackName = keyof typeof ATTACKS;
const attackNames = Object.keys(ATTACKS) as [AttackName, ...AttackName[]];

export const cellSchema = z.object({
  data: z.enum(DATA),
  architecture: z.enum(ARCHITECTURES),
  attack: z.enum(attackNames),
  epochs: z.int().min(1),
  /** Epochs of the clean network of the same seed that the victim's training goes on from; null where it begins with random weights. */
  startEpochs: z.int().min(1).nullable().default(null),
  /** Whether the victim's training goes on from a clean network that the user gives for its seed. */
  startGiven: z.boolean().default(false),
  /** Images to train the victim on: this many, or all. */
  trainCount: z.int().min(1).nullable(),
  /** The defender's images, and those to measure on; drawn by the seed from images that the victim was not trained on. */
  cleanCount: z.int().min(1),
  evaluationCount: z.int().min(1),
  /** A defence or a detector. */
  method: z.string(),
  seed: z.int().min(0),
});

/** One run of one method against one victim. */
export type Cell = z.infer<typeof cellSchema>;

/** A part of a grid: every combination of what it lists. */
export type Block = Pick<Cell, 'architecture' | 'epochs' | 'trainCount' | 'evaluationCount'> & {
  startEpochs?: number | undefined;
  startGiven?: true;
  data: readonly DataName[];
  attacks: readonly AttackName[];
  cleanCounts: readonly number[];
  methods: readonly string[];
  seeds: readonly number[];
};

const DEFENSE_NAMES = DEFENSES.map(({ name }) => name);
const DETECTOR_NAMES = DETECTORS.map(({ name }) => name);
const ALL = [...DEFENSE_NAMES, ...DETECTOR_NAMES];
const FEW_CLEAN = 500;
const MANY_CLEAN = 2500;
const SEEDS = [1, 2, 3];
const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);

const CONTROL = { attacks: ['none'], methods: ['ours'] } as const;
/** A quarter of the training images: on two cores the victims of the whole grid would otherwise take a day to make. */
const SMALL = { trainCount: 15_000, evaluationCount: 2000, cleanCounts: [FEW_CLEAN], seeds: SEEDS };
const GREY = { ...SMALL, architecture: 'small-cnn', epochs: 4 } as const;
const FASHION = { ...GREY, data: ['fashion'] } as const;
const MNIST = { ...GREY, data: ['mnist'] } as const;
/** Trained clean once a seed, for a network on colour images takes long to learn; attackers go on from there, as TrojanZoo's do. */
const COLOUR = {
  ...SMALL,
  trainCount: 20_000,
  architecture: 'resnet8',
  epochs: 2,
  startEpochs: 8,
  data: ['cifar10'],
} as const;
const COLOUR_CONTROL = { ...COLOUR, ...CONTROL, epochs: COLOUR.startEpochs, startEpochs: undefined } as const;
const COLOUR_TRAINED = { ...COLOUR, startEpochs: undefined, startGiven: true } as const;
const PLANTED: AttackName[] = ['badnets-3', 'trojannn', 'imc', 'blended', 'additive'];
const HARD: AttackName[] = [
  'badnets-moved',
  'sparse',
  'signal',
  'wanet',
  'all-to-all',
  'hidden',
  'mimic',
  'two-triggers',
  'one-source',
  'clean-label',
];
const OURS = ['none', 'baeraser', 'ours', 'probe', 'image-match'];
/** Ours beside the paper's method. */
const COMPARED = ['none', 'ours', 'probe', 'baeraser'];
/** Ours beside nothing, where no other method is compared. */
const ALONE = ['none', 'ours', 'probe'];
/** A victim that the paper's experiments are repeated on. */
const PAPER_RUN = { ...FASHION, attacks: ['badnets-5'], methods: ['none', 'baeraser', 'ours'] } as const;
/** 1, 2, 5 and 10 % of the training images. */
const HOLDING_COUNTS = [150, 300, 750, 1500];

/** `smoke`: minutes, from committed images. `small` (Fashion-MNIST), `digits`, `colour`, `colour-trained`: hours on two cores. `paper`: for a GPU. The others are the paper's experiments, minutes to an hour each. */
export const GRIDS = {
  smoke: [
    {
      data: ['example'],
      architecture: 'small-cnn',
      attacks: ['badnets-5'],
      epochs: 15,
      trainCount: null,
      cleanCounts: [300],
      evaluationCount: 400,
      methods: ['none', 'fine-tuning', 'baeraser', 'ours', ...DETECTOR_NAMES],
      seeds: [1],
    },
  ],
  small: [
    { ...FASHION, attacks: PLANTED, methods: ALL, seeds: [1] },
    { ...FASHION, attacks: PLANTED, methods: OURS, seeds: [2, 3] },
    { ...FASHION, attacks: HARD, methods: ALONE, seeds: [1] },
    // A kind that is missed at times; made, like those of MNIST below, when everything had been chosen.
    { ...FASHION, attacks: ['two-triggers'], methods: ALONE, seeds: [2, 3] },
    { ...FASHION, ...CONTROL, seeds: upTo(20) },
  ],
  digits: [
    { ...MNIST, attacks: PLANTED, methods: OURS },
    { ...MNIST, attacks: ['imc'], methods: ALONE, seeds: [4, 5] },
    { ...MNIST, ...CONTROL, seeds: upTo(20) },
  ],
  // Seed by seed, so that what there is of them after an hour is whole.
  colour: SEEDS.flatMap((seed) => [
    { ...COLOUR_CONTROL, seeds: [seed] },
    { ...COLOUR, attacks: PLANTED, methods: OURS, seeds: [seed] },
  ]),
  // As `colour`, from networks that had more training, on all images; the controls go on without a trigger.
  'colour-trained': SEEDS.flatMap((seed) => [
    { ...COLOUR_TRAINED, ...CONTROL, seeds: [seed] },
    { ...COLOUR_TRAINED, attacks: PLANTED, methods: COMPARED, seeds: [seed] },
  ]),
  paper: [
    {
      data: ['mnist', 'fashion', 'cifar10', 'cifar100'],
      architecture: 'resnet18',
      attacks: ['badnets-3', 'trojannn', 'imc'],
      epochs: 30,
      trainCount: null,
      cleanCounts: [MANY_CLEAN, FEW_CLEAN],
      evaluationCount: 7500,
      methods: ALL,
      seeds: SEEDS,
    },
  ],
  'trade-off': [{ ...PAPER_RUN, methods: ['none', ...STEP_VARIANTS.map(({ name }) => name), 'ours'] }],
  'holding-ratio': [{ ...PAPER_RUN, cleanCounts: HOLDING_COUNTS }],
  balance: [{ ...PAPER_RUN, methods: ['none', ...BALANCE_VARIANTS.map(({ name }) => name), 'ours'] }],
  'trigger-size': [{ ...PAPER_RUN, attacks: ['badnets-3', 'badnets-5', 'badnets-7'] }],
  'moved-trigger': [{ ...PAPER_RUN, attacks: ['badnets-moved'] }],
  /** Retraining on recovered triggers with the correct labels, in place of ascent. */
  'correct-label': [{ ...PAPER_RUN, methods: ['none', 'relabel', 'baeraser', 'ours'] }],
} satisfies Record<string, readonly Block[]>;
export type GridName = keyof typeof GRIDS;

/** The cells of a grid: one victim with one set of clean images after the other; detectors need a trigger to look for. */
export function planCells(grid: readonly Block[]): Cell[] {
  return grid.flatMap(
    ({ data, attacks, cleanCounts, methods, seeds, startEpochs = null, startGiven = false, ...fixed }) =>
      data.flatMap((data) =>
        attacks.flatMap((attack) =>
          seeds.flatMap((seed) =>
            cleanCounts.flatMap((cleanCount) =>
              methods
                .filter((method) => attack !== 'none' || !DETECTOR_NAMES.includes(method))
                .map((method): Cell => ({ ...fixed, startEpochs, startGiven, data, attack, cleanCount, method, seed })),
            ),
          ),
        ),
      ),
  );
}

/** The cell of the clean network that a cell's victim goes on from, if it does. */
export const originOf = (cell: Cell): Cell | undefined =>
  cell.startEpochs === null ? undefined : { ...cell, attack: 'none', epochs: cell.startEpochs, startEpochs: null };

/** The name of a cell's victim; cells with the same one share it. */
export const victimName = ({ data, architecture, attack, seed }: Cell): string =>
  `${data}_${architecture}_${attack}_${seed}`;

/** The name of a cell's surroundings, all but the method. */
export const subjectName = (cell: Cell): string => `${victimName(cell)}_${cell.cleanCount}`;

/** The attack of a cell on a data set of so many labels; seeds take turns at the target. */
export function attackOf({ attack, architecture, epochs, seed }: Cell, labelCount: number): Attack {
  return attackSchema.parse({ ...ATTACKS[attack], targetLabel: seed % labelCount, architecture, epochs, seed });
}
