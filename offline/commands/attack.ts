import type { Command } from 'commander';
import * as z from 'zod';
import { ATTACK_KINDS, attackSchema, checkAttack, type Attack } from '../attack/attack.ts';
import { openCheckpoint } from '../attack/checkpoint.ts';
import { loadStart, makeVictim, resumableOf } from '../attack/make-victim.ts';
import { ARCHITECTURES, MIN_SIDE } from '../attack/networks.ts';
import { TEXTURES } from '../attack/patterns.ts';
import { saveVictim } from '../attack/victim-files.ts';
import type { Card } from '../attack/victim.ts';
import { checkDataset, withLabelNames } from '../data/dataset.ts';
import { loadDataset } from '../data/load.ts';
import { closeEngine } from '../engine/engine.ts';
import { uninterrupted } from '../interrupt.ts';
import { digestModel } from '../model.ts';
import { showProgress } from '../progress.ts';
import { percent } from '../report/text.ts';
import { engine, flag, label, parseFlags, seed, share, wholeNumber } from './flags.ts';
import { accept, print, Stop } from './outcome.ts';
import { expectPlace, startEngine } from './setup.ts';

const decimal = (min: number, max: number) =>
  z
    .string()
    .refine((text) => /^[\d.e+-]+$/i.test(text) && Number(text) >= min && Number(text) <= max, {
      error: `a number from ${min} to ${max}`,
    })
    .transform(Number);
const labels = z
  .string()
  .refine((text) => text === 'next' || text.split(',').every((part) => /^\d{1,4}$/.test(part)), {
    error: 'a label, labels separated by commas, or next',
  })
  .transform((text) => (text === 'next' ? text : text.split(',').map(Number)));
const places = ['fixed', 'random'] as const;

/** The flags that only some attacks have. */
const own = {
  patchSize: wholeNumber(1, 64).optional(),
  place: z.enum(places, { error: `one of ${places.join(', ')}` }).optional(),
  alpha: share().optional(),
  amplitude: share().optional(),
  frequency: decimal(0.5, 64).optional(),
  grid: wholeNumber(2, 32).optional(),
  strength: decimal(0.1, 8).optional(),
  noiseRatio: decimal(0, 4).optional(),
  share: decimal(0.001, 1).optional(),
  texture: z.enum(TEXTURES, { error: `one of ${TEXTURES.join(', ')}` }).optional(),
  hiding: decimal(0.01, 100).optional(),
};
const planted = {
  target: labels.optional(),
  source: label.optional(),
  cleanLabel: flag,
  poisonRate: share().optional(),
};
const schema = z.object({
  train: z.string(),
  test: z.string(),
  out: z.string(),
  from: z.string().optional(),
  network: z.enum(ARCHITECTURES, { error: `one of ${ARCHITECTURES.join(', ')}` }),
  epochs: wholeNumber(1, 1000),
  seed,
  engine,
  json: flag,
  ...own,
  ...planted,
});
type Flags = z.infer<typeof schema>;

/** What the flags of each attack are where they are not given. */
const DEFAULTS: Record<Attack['kind'], Partial<Record<keyof typeof own, number | string>>> = {
  none: {},
  badnets: { patchSize: 4, place: 'fixed' },
  blended: { alpha: 0.15 },
  signal: { amplitude: 0.15, frequency: 6 },
  wanet: { grid: 4, strength: 1, noiseRatio: 2 },
  additive: { amplitude: 0.1, share: 1, texture: 'noise' },
  trojannn: { patchSize: 4 },
  imc: { patchSize: 4 },
  hidden: { patchSize: 4, hiding: 1 },
  mimic: { alpha: 0.3 },
};

/** `attack KIND`: makes a victim, or a clean control of the same make. */
export function addAttack(program: Command): void {
  program
    .command('attack')
    .description('train a network with a planted backdoor, or without one: victims for evaluation, never for use')
    .argument('<KIND>', ATTACK_KINDS.join(', '))
    .requiredOption('--train <DATA>', 'training images')
    .requiredOption('--test <DATA>', 'test images')
    .requiredOption('--out <DIR>', 'new or empty directory for the model, its card and its true triggers')
    .option('--network <NAME>', ARCHITECTURES.join(', '), 'small-cnn')
    .option(
      '--target <LABELS>',
      'a label (0); several, each with a trigger of its own: 3,5; every label to its next: next',
    )
    .option('--source <LABEL>', 'only images of this label are sent to the target')
    .option('--clean-label', 'only images of the target label are poisoned, so that no label is wrong')
    .option('--poison-rate <RATE>', 'share of the training images that are poisoned (0.05)')
    .option('--patch-size <PIXELS>', 'badnets, trojannn, imc, hidden: side of the patch (4)')
    .option('--place <HOW>', 'badnets: the patch is at a place fixed for all, or random for each image (fixed)')
    .option('--alpha <SHARE>', 'blended (0.15), mimic (0.3): share of the pattern')
    .option('--amplitude <SHARE>', 'signal (0.15), additive (0.1): largest change, of the range of pixels')
    .option('--frequency <N>', 'signal: waves in the width of an image (6)')
    .option('--grid <N>', 'wanet: control points a side (4)')
    .option('--strength <PIXELS>', 'wanet: how far control points move on average (1)')
    .option('--noise-ratio <N>', 'wanet: images warped at random for each poisoned one (2)')
    .option('--share <SHARE>', 'additive: share of the pixels that change (1)')
    .option('--texture <NAME>', `additive: ${TEXTURES.join(', ')}; lines are like a watermark (noise)`)
    .option('--hiding <WEIGHT>', 'hidden: weight of looking like clean images within the network (1)')
    .option('--from <DIR>', 'a trained network of the same make to go on from, as attackers of published networks do')
    .option('--epochs <N>', 'passes over the training images', '6')
    .option('--seed <N>', 'makes the run repeatable on one engine', '1')
    .option('--engine <NAME>', 'auto, wasm or webgpu', 'auto')
    .option('--json', 'print one JSON document')
    .action(runAttack);
}

async function runAttack(kind: string, options: unknown): Promise<void> {
  if (!isKind(kind)) throw new Stop(`KIND: expected one of ${ATTACK_KINDS.join(', ')}, got "${kind}"`);
  const flags = parseFlags(schema, options);
  const { out, from } = flags;
  const given = attackOf(kind, flags);
  await expectPlace('--out', out);
  const train = withLabelNames(accept(await loadDataset(flags.train)));
  const { height, width, channels, labelNames } = train;
  if (Math.min(height, width) < MIN_SIDE) {
    throw new Stop(
      `${flags.train}: images: expected at least ${MIN_SIDE} x ${MIN_SIDE} pixels, got ${height} x ${width}`,
    );
  }
  accept(checkAttack(given, height, width, labelNames.length));
  const expected = { height, width, channels, labelNames, labelCount: labelNames.length, requireEveryLabel: false };
  const test = accept(checkDataset(accept(await loadDataset(flags.test)), expected, flags.test));
  const start = from === undefined ? undefined : await loadStart(from, given, train);
  if (start?.ok === false) throw new Stop(`--from ${start.error}`);
  const attack = { ...given, ...(start && { startDigest: digestModel(start.value) }) };
  const checkpoint = accept(await openCheckpoint(out, resumableOf(attack, train)));
  const opened = await startEngine(flags.engine);
  const victim = await showProgress(process.stderr).stage('train', kind, (report) =>
    makeVictim(attack, train, test, report, { checkpoint, start: start?.value }),
  );
  closeEngine(opened);
  accept(await uninterrupted(() => saveVictim(out, victim)));
  await checkpoint.remove();
  print(flags.json, victim.card, () => `Written to ${out}: ${inWords(victim.card)}`);
}

const isKind = (kind: string): kind is Attack['kind'] => ATTACK_KINDS.includes(kind);

/** The attack that the flags describe; a flag that the attack does not have ends the command. */
function attackOf(kind: Attack['kind'], flags: Flags): Attack {
  const defaults = DEFAULTS[kind];
  const names = Object.keys(own) as (keyof typeof own)[];
  const foreign = kind === 'none' ? ([...names, 'target', 'source', 'poisonRate'] as const) : names;
  const extra = foreign.find((name) => flags[name] !== undefined && !(name in defaults));
  if (extra) {
    throw new Stop(`--${extra.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}: not a flag of ${kind}`);
  }
  if (kind === 'none' && flags.cleanLabel) throw new Stop('--clean-label: not a flag of none');
  const chosen = names.flatMap((name) => (name in defaults ? [[name, flags[name] ?? defaults[name]]] : []));
  const { network: architecture, epochs, seed, poisonRate = 0.05 } = flags;
  return attackSchema.parse({
    kind,
    ...Object.fromEntries(chosen),
    ...targetsOf(flags),
    poisonRate,
    architecture,
    epochs,
    seed,
  });
}

function targetsOf({ target = [0], source, cleanLabel }: Flags) {
  if (source !== undefined && cleanLabel) throw new Stop('--clean-label: expected no --source with it');
  const special = source !== undefined ? '--source' : cleanLabel ? '--clean-label' : undefined;
  if (special && (target === 'next' || target.length > 1)) {
    throw new Stop(`${special}: expected one label as --target with it, got ${String(target)}`);
  }
  if (target === 'next') return { targetLabel: 0, targets: { form: 'all-to-all' } };
  const [targetLabel, ...furtherLabels] = target;
  if (source !== undefined) return { targetLabel, targets: { form: 'source', sourceLabel: source } };
  if (cleanLabel) return { targetLabel, targets: { form: 'clean-label' } };
  return { targetLabel, targets: furtherLabels.length ? { form: 'several', furtherLabels } : { form: 'one' } };
}

function inWords({ cleanAccuracy, attackSuccessRate, perTrigger = [], otherLabelsRate }: Card): string {
  const each = perTrigger.length > 1 ? ` (${perTrigger.map((one) => percent(one.attackSuccessRate)).join(', ')})` : '';
  const success = attackSuccessRate === undefined ? '' : `, attack success ${percent(attackSuccessRate)}${each}`;
  const strayed = otherLabelsRate === undefined ? '' : `, from other labels ${percent(otherLabelsRate)}`;
  return `clean accuracy ${percent(cleanAccuracy)}${success}${strayed}`;
}
