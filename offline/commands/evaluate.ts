import type { Command } from 'commander';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { openRelease } from '../../src/release/release.ts';
import { closeEngine } from '../engine/engine.ts';
import { evaluate, type Subject, type Triggered } from '../evaluate.ts';
import { loadPublicKey } from '../keys.ts';
import { loadModel } from '../model.ts';
import { readReleaseFiles } from '../release.ts';
import { formatEvaluation } from '../report/evaluated.ts';
import { engine, flag, label, parseFlags } from './flags.ts';
import { accept, print, Stop } from './outcome.ts';
import { defaultKeyFile, readImages, startEngine } from './setup.ts';

const schema = z.object({
  clean: z.string(),
  triggered: z.string().optional(),
  target: label.optional(),
  key: z.string().optional(),
  engine,
  json: flag,
});
type Flags = z.infer<typeof schema>;

/** `evaluate RELEASE-OR-MODEL`: a release must be signed by a key that the user trusts. */
export function addEvaluate(program: Command): void {
  program
    .command('evaluate')
    .description('measure a release or a model on images that it has not seen')
    .argument('<RELEASE-OR-MODEL>', 'release directory (it holds manifest.json) or model directory')
    .requiredOption('--clean <DATA>', 'clean images')
    .option('--triggered <DATA>', 'stamped images with their true labels')
    .option('--target <N>', 'the label that the attacker wants')
    .option('--key <FILE.pub>', 'public key that signed the release (default: that of your own signing key)')
    .option('--engine <NAME>', 'auto, wasm or webgpu', 'auto')
    .option('--json', 'print one JSON document')
    .action(runEvaluate);
}

async function runEvaluate(directory: string, options: unknown): Promise<void> {
  const flags = parseFlags(schema, options);
  const subject = await readSubject(directory, flags);
  const clean = await readImages(flags.clean, subject.network, false);
  const triggered = await readTriggered(flags, subject);
  const opened = await startEngine(flags.engine);
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

async function readSubject(directory: string, { key }: Flags): Promise<Subject> {
  const isRelease = await stat(join(directory, 'manifest.json')).then(
    () => true,
    () => false,
  );
  if (!isRelease) {
    if (key !== undefined) throw new Stop(`--key: expected a release with it, got the model ${directory}`);
    return accept(await loadModel(directory));
  }
  const files = accept(await readReleaseFiles(directory));
  const trusted = accept(await loadPublicKey(key ?? `${defaultKeyFile()}.pub`));
  const opened = await openRelease(files, { trustedKeys: [trusted], now: new Date(), subtle: crypto.subtle });
  if (!opened.ok) throw new Stop(`${directory}: ${opened.error}`);
  const { manifest, weights, guard } = opened.value;
  return { network: manifest.network, weights, guarded: { cut: manifest.cut, guard } };
}
