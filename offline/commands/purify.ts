import type { Command } from 'commander';
import * as z from 'zod';
import type { SigningKey } from '../../src/release/signature.ts';
import { isTaken } from '../directory.ts';
import { closeEngine } from '../engine/engine.ts';
import { uninterrupted } from '../interrupt.ts';
import { adoptLabelNames, openModel, type OpenedModel } from '../import/open.ts';
import { placeOfModel, writeBack } from '../import/write-back.ts';
import { loadOrCreateKey } from '../keys.ts';
import { digestModel, type Model } from '../model.ts';
import { purify, type Purified } from '../purify.ts';
import { writeRelease } from '../release.ts';
import { COSTLY_ADVICE, formatRelease, releaseJson, smallestTriggers } from '../report/purified.ts';
import { formatScan, scanJson } from '../report/scanned.ts';
import { list } from '../report/text.ts';
import { addInputFlags, engine, flag, givenInput, inputFlags, MODEL, parseFlags, seed, share } from './flags.ts';
import { accept, EXIT, print, Stop } from './outcome.ts';
import { defaultKeyFile, expectPlace, readClean, say, seeClean, showWork, startEngine } from './setup.ts';

const unlearning = ['late', 'ascent'] as const;
const schema = z.object({
  clean: z.string(),
  unlabelled: flag,
  out: z.string(),
  seed,
  engine,
  unlearn: z.enum(unlearning, { error: `one of ${unlearning.join(', ')}` }),
  harden: flag,
  falsePositiveRate: share(),
  key: z.string().optional(),
  force: flag,
  report: z.string().optional(),
  work: z.string().optional(),
  json: flag,
  ...inputFlags,
});

/** `purify MODEL`: exit 3 when the gate failed; with nothing to unlearn nothing is written and the model stays as it is. */
export function addPurify(program: Command): void {
  const command = program
    .command('purify')
    .description('recover the triggers of a model, unlearn them, and write a signed release that watches for them')
    .argument('<MODEL>', MODEL)
    .requiredOption('--clean <DATA>', 'clean images of every label')
    .option('--unlabelled', "the clean images have no labels: the model's own answers stand for them")
    .requiredOption('--out <DIR>', 'new or empty directory for the release; the model in its own form goes beside it')
    .option('--seed <N>', 'makes the run repeatable on one engine', '1')
    .option('--engine <NAME>', 'auto, wasm or webgpu', 'auto')
    .option('--unlearn <HOW>', 'late (the head behind a frozen trunk) or ascent (all layers, as in the paper)', 'late')
    .option('--harden', 'unlearn and watch for natural shortcuts too; what that costs is in the figures')
    .option('--false-positive-rate <RATE>', 'share of clean images that the guard may flag', '0.005')
    .option('--key <FILE>', 'signing key, made on first use (default: $TRIGGER_GUARD_KEY or the user configuration)')
    .option('--force', 'write the release even if it fails its gate; its manifest says so')
    .option('--report <DIR>', 'new or empty directory for report.html and report.json')
    .option('--work <DIR>', 'keep finished stages there, so that a run that was stopped goes on when it is repeated')
    .option('--json', 'print one JSON document');
  addInputFlags(command).action(runPurify);
}

async function runPurify(path: string, options: unknown): Promise<void> {
  const flags = parseFlags(schema, options);
  await expectPlace('--out', flags.out);
  if (flags.report !== undefined) await expectPlace('--report', flags.report);
  const keyFile = flags.key ?? defaultKeyFile();
  const read = accept(await openModel(path, givenInput(flags), `${keyFile}.pub`));
  await expectPlaceOfModel(read, flags.out);
  const given = await readClean(flags.clean, flags.unlabelled, read.network);
  const model = adoptLabelNames(read, given);
  const key = await signingKey(keyFile);
  const opened = await startEngine(flags.engine);
  const images = await seeClean(model, given, flags.unlabelled);
  const { unlearn, harden, falsePositiveRate, force } = flags;
  const depends = [flags.seed, opened.kind, unlearn, harden, falsePositiveRate];
  const progress = showWork(flags.work, model, images, depends);
  const { source } = model;
  const how = {
    engine: opened,
    seed: flags.seed,
    progress,
    unlearn,
    harden,
    falsePositiveRate,
    force,
    source,
    now: new Date(),
  };
  const purified = await purify(model, images, how);
  closeEngine(opened);
  const written = purified.outcome === 'purified' ? await write(flags.out, model, purified, key) : undefined;
  const figures = purifiedJson(purified, model, written);
  if (flags.report !== undefined) {
    // Plots take a moment to load, which only those who want them should wait for.
    const { writeReport } = await import('../report/write.ts');
    const { labelNames } = model.network;
    accept(await writeReport(flags.report, { model: path, labelNames, result: purified }, figures));
  }
  print(flags.json, figures, () => formatPurified(purified, model, written));
  if (purified.outcome === 'gate-failed') process.exitCode = EXIT.gateFailed;
}

async function signingKey(file: string): Promise<SigningKey> {
  const isNew = !(await isTaken(file));
  const key = accept(await loadOrCreateKey(file));
  if (isNew) say(`key     a new signing key is in ${file}, its public key in ${file}.pub`);
  return key;
}

/** What was written: the release, and the model in its own form or the reason why not. */
type Written = { directory: string; digest: string; modelFile: string | null; withoutModelFile?: string };

/** Ends the command if the place of the model file is taken, so that long work is not done for nothing. */
async function expectPlaceOfModel(model: OpenedModel, out: string): Promise<void> {
  const place = placeOfModel(model, out);
  if (place === null) return;
  if (await isTaken(place)) throw new Stop(`--out ${out}: expected nothing at ${place}, where the purified model goes`);
}

async function write(
  out: string,
  model: OpenedModel,
  { content }: Purified & { outcome: 'purified' },
  key: SigningKey,
): Promise<Written> {
  const release = accept(await uninterrupted(() => writeRelease(out, content, key)));
  const written = { directory: out, ...release };
  const modelFile = placeOfModel(model, out);
  if (modelFile === null) return { ...written, modelFile };
  const copied = await uninterrupted(() => writeBack(model, content.weights, modelFile));
  return copied.ok ? { ...written, modelFile } : { ...written, modelFile: null, withoutModelFile: copied.error };
}

function formatWritten({ directory, digest, modelFile, withoutModelFile }: Written): string {
  const release = `Release ${digest} written to ${directory}`;
  if (modelFile !== null) return `${release}\nPurified model written to ${modelFile}`;
  if (withoutModelFile === undefined) return release;
  return `${release}\nThe model file was not written, \`export\` gives one instead: ${withoutModelFile}`;
}

function purifiedJson(purified: Purified, model: Model, release: Written | undefined) {
  const { outcome, scan } = purified;
  const shared = { outcome, ...scanJson(scan, model.network.labelNames) };
  if (outcome === 'nothing-found') return { ...shared, victimDigest: digestModel(model) };
  if (outcome === 'gate-failed') {
    const { failures, isCostly } = purified;
    return { ...shared, failures, isCostly };
  }
  const { content, tradeOff, screenings } = purified;
  const smallest = { before: smallestTriggers(scan.screenings), after: smallestTriggers(screenings) };
  return { ...shared, ...release, ...releaseJson(content), smallestTriggers: smallest, tradeOff };
}

function formatPurified(purified: Purified, model: Model, written: Written | undefined): string {
  const scanned = formatScan(purified.scan, model.network.labelNames);
  if (purified.outcome === 'purified') {
    const { content, scan, screenings } = purified;
    const release = formatRelease(content, scan.screenings, screenings);
    return `${scanned}\n\n${release}\n\n${written ? formatWritten(written) : ''}`;
  }
  if (purified.outcome === 'gate-failed') {
    const { failures, isCostly } = purified;
    const refused = `${scanned}\n\nThe gate failed, no release was written (--force would):\n${list(failures)}`;
    return isCostly ? `${refused}\n\n${COSTLY_ADVICE}` : refused;
  }
  const same = `the model stays as it is (digest ${digestModel(model)})`;
  return `${scanned}\n\nThere is nothing to unlearn: ${same}, and nothing was written.`;
}
