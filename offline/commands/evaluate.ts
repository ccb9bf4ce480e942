import type { Command } from 'commander';
import * as z from 'zod';
import { closeEngine } from '../engine/engine.ts';
import { evaluate, type Subject, type Triggered } from '../evaluate.ts';
import { adoptLabelNames } from '../import/open.ts';
import { formatEvaluation } from '../report/evaluated.ts';
import { addInputFlags, engine, flag, givenInput, inputFlags, KEY, label, MODEL, parseFlags } from './flags.ts';
import { print, Stop } from './outcome.ts';
import { expectSight, readImages, readModel, startEngine } from './setup.ts';

const schema = z.object({
  clean: z.string(),
  triggered: z.string().optional(),
  target: label.optional(),
  key: z.string().optional(),
  engine,
  json: flag,
  ...inputFlags,
});
type Flags = z.infer<typeof schema>;

/** `evaluate MODEL`: a release must be signed by a key that the user trusts. */
export function addEvaluate(program: Command): void {
  const command = program
    .command('evaluate')
    .description('measure a release or a model on images that it has not seen')
    .argument('<MODEL>', MODEL)
    .requiredOption('--clean <DATA>', 'clean images')
    .option('--triggered <DATA>', 'stamped images with their true labels')
    .option('--target <N>', 'the label that the attacker wants')
    .option('--key <FILE.pub>', KEY)
    .option('--engine <NAME>', 'auto, wasm or webgpu', 'auto')
    .option('--json', 'print one JSON document');
  addInputFlags(command).action(runEvaluate);
}

async function runEvaluate(path: string, options: unknown): Promise<void> {
  const flags = parseFlags(schema, options);
  const read = await readModel(path, givenInput(flags), flags.key);
  const clean = await readImages(flags.clean, read.network, false);
  const subject = adoptLabelNames(read, clean);
  const triggered = await readTriggered(flags, subject);
  const opened = await startEngine(flags.engine);
  await expectSight(subject, clean);
  const evaluation = await evaluate(subject, clean, triggered);
  closeEngine(opened);
  print(flags.json, evaluation, () => formatEvaluation(evaluation, subject.network.labelNames));
}

async function readTriggered({ triggered, target }: Flags, { network }: Subject): Promise<Triggered | undefined> {
  if ((triggered === undefined) !== (target === undefined)) {
    const [given, missing] = triggered === undefined ? ['target', 'triggered'] : ['triggered', 'target'];
    throw new Stop(`--${given}: expected --${missing} with it, got none`);
  }
  if (triggered === undefined || target === undefined) return undefined;
  const last = network.labelNames.length - 1;
  if (target > last) throw new Stop(`--target: expected a label from 0 to ${last}, got ${target}`);
  return { images: await readImages(triggered, network, false), targetLabel: target };
}
