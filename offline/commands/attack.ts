import type { Command } from 'commander';
import * as z from 'zod';
import { makeVictim, type Attack } from '../attack/attack.ts';
import { saveVictim } from '../attack/victim-files.ts';
import { checkDataset, type Dataset } from '../data/dataset.ts';
import { loadDataset } from '../data/load.ts';
import { closeEngine } from '../engine/engine.ts';
import { uninterrupted } from '../interrupt.ts';
import { showProgress } from '../progress.ts';
import { percent } from '../report/text.ts';
import { engine, label, parseFlags, seed, share, wholeNumber } from './flags.ts';
import { accept, print, Stop } from './outcome.ts';
import { expectPlace, startEngine } from './setup.ts';

const kinds = ['badnets', 'none'] as const;
const MIN_SIDE = 8;
const schema = z.object({
  train: z.string(),
  test: z.string(),
  out: z.string(),
  target: label,
  patchSize: wholeNumber(1, 64),
  poisonRate: share(),
  epochs: wholeNumber(1, 1000),
  seed,
  engine,
});

/** `attack badnets|none`: makes a victim, or a clean control of the same make. */
export function addAttack(program: Command): void {
  program
    .command('attack')
    .description('train a small CNN with a planted backdoor, or without one: victims for evaluation, never for use')
    .argument('<KIND>', kinds.join(' or '))
    .requiredOption('--train <DATA>', 'training images')
    .requiredOption('--test <DATA>', 'test images')
    .requiredOption('--out <DIR>', 'new or empty directory for the model, its card and its true trigger')
    .option('--target <N>', 'the label that the trigger asks for', '0')
    .option('--patch-size <PIXELS>', 'side of the patch', '4')
    .option('--poison-rate <RATE>', 'share of the training images that are poisoned', '0.05')
    .option('--epochs <N>', 'passes over the training images', '6')
    .option('--seed <N>', 'makes the run repeatable on one engine', '1')
    .option('--engine <NAME>', 'auto, wasm or webgpu', 'auto')
    .action(runAttack);
}

async function runAttack(kind: string, options: unknown): Promise<void> {
  if (kind !== 'badnets' && kind !== 'none') throw new Stop(`KIND: expected ${kinds.join(' or ')}, got "${kind}"`);
  const { train: trainPath, test: testPath, out, engine: choice, target, ...how } = parseFlags(schema, options);
  await expectPlace('--out', out);
  const attack: Attack = { kind, targetLabel: target, ...how };
  const train = namedLabels(accept(await loadDataset(trainPath)));
  checkAttack(attack, train, trainPath);
  const { height, width, channels, labelNames } = train;
  const expected = { height, width, channels, labelNames, labelCount: labelNames.length, requireEveryLabel: false };
  const test = accept(checkDataset(accept(await loadDataset(testPath)), expected, testPath));
  const opened = await startEngine(choice);
  const victim = await showProgress(process.stderr).stage('train', kind, (report) =>
    makeVictim(attack, train, test, report),
  );
  closeEngine(opened);
  accept(await uninterrupted(() => saveVictim(out, victim)));
  const { cleanAccuracy, attackSuccessRate } = victim.card;
  const success = attackSuccessRate === undefined ? '' : `, attack success ${percent(attackSuccessRate)}`;
  print(false, undefined, () => `Written to ${out}: clean accuracy ${percent(cleanAccuracy)}${success}`);
}

/** Labels without names are called by their numbers. */
function namedLabels(dataset: Dataset): Dataset & { labelNames: string[] } {
  const count = dataset.labels.reduce((largest, label) => Math.max(largest, label), 1) + 1;
  return { ...dataset, labelNames: dataset.labelNames ?? Array.from({ length: count }, (_, label) => `${label}`) };
}

function checkAttack(
  { targetLabel, patchSize }: Attack,
  train: Dataset & { labelNames: string[] },
  path: string,
): void {
  const last = train.labelNames.length - 1;
  if (targetLabel > last) throw new Stop(`--target: expected a label from 0 to ${last}, got ${targetLabel}`);
  const side = Math.min(train.height, train.width);
  if (side < MIN_SIDE) {
    throw new Stop(
      `${path}: images: expected at least ${MIN_SIDE} x ${MIN_SIDE} pixels, got ${train.height} x ${train.width}`,
    );
  }
  if (patchSize > side) throw new Stop(`--patch-size: expected at most ${side} pixels, got ${patchSize}`);
}
