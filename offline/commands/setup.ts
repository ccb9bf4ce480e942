/** What commands do before their work: read their files, open the engine, and make sure that the result has a place. */
import { readdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { toDevice } from '../../src/network/forward.ts';
import type { Network } from '../../src/network/network.ts';
import { everyIndex } from '../batch.ts';
import { checkDataset, digestDataset, type Dataset } from '../data/dataset.ts';
import { loadDataset, loadUnlabelled } from '../data/load.ts';
import { openEngine, type Engine, type EngineChoice } from '../engine/engine.ts';
import { proveNumerics } from '../engine/numerics.ts';
import { checkInput } from '../input-check.ts';
import type { GivenInput } from '../import/imported.ts';
import { openModel, type OpenedModel } from '../import/open.ts';
import { digestModel, type Model } from '../model.ts';
import { predict } from '../predict.ts';
import { showProgress, type Progress } from '../progress.ts';
import { TOOL } from '../purify.ts';
import { resumable } from '../resume.ts';
import { accept, EXIT, Stop } from './outcome.ts';

/** Says something on stderr, where progress goes too. */
export function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** Opens the model of a command; `key` names the public key of a release and is for releases only. */
export async function readModel(path: string, given: GivenInput, key: string | undefined): Promise<OpenedModel> {
  const model = accept(await openModel(path, given, key ?? `${defaultKeyFile()}.pub`));
  if (key !== undefined && !model.guarded) throw new Stop(`--key: expected a release with it, got the model ${path}`);
  return model;
}

/** Loads images and fits them to a network. */
export async function readImages(path: string, network: Network, requireEveryLabel: boolean): Promise<Dataset> {
  const { input, labelNames } = network;
  const expected = { ...input, labelNames, labelCount: labelNames.length, requireEveryLabel };
  return accept(checkDataset(accept(await loadDataset(path)), expected, path));
}

/** The clean images of a command as given: with labels of every kind, or without any (every label is 0 until `seeClean`). */
export async function readClean(path: string, unlabelled: boolean, network: Network): Promise<Dataset> {
  if (!unlabelled) return readImages(path, network, true);
  const expected = { ...network.input, labelCount: network.labelNames.length, requireEveryLabel: false };
  return accept(checkDataset(accept(await loadUnlabelled(path)), expected, path));
}

/**
 * The clean images as the work takes them. Labelled ones end the command if the model answers them about as by guessing; to others the
 * model's own answers are given as labels, so that accuracy means agreement with the model as it came. Needs the engine.
 */
export async function seeClean(model: OpenedModel, images: Dataset, unlabelled: boolean): Promise<Dataset> {
  if (!unlabelled) {
    await expectSight(model, images);
    return images;
  }
  const weights = toDevice(model.weights);
  const labels = await predict(model.network, weights, images, everyIndex(images.count));
  weights.forEach((tensor) => tensor.dispose());
  say(`input   ${images.count} images without labels: the model's own answers stand for them, right or wrong`);
  return { ...images, labels };
}

/** Opens the engine and proves its numerics; wrong numbers end the command before they can do harm. */
export async function startEngine(choice: EngineChoice): Promise<Engine> {
  const opened = await openEngine(choice);
  if (!opened.ok) throw new Stop(`--engine ${choice}: ${opened.error}`);
  const engine = opened.value;
  const proof = await proveNumerics();
  if (!proof.ok) throw new Stop(`the engine computes wrong numbers: ${proof.error}`, EXIT.internalError);
  say(`engine  ${engine.kind} on ${engine.device}, ${engine.threads} ${engine.threads === 1 ? 'thread' : 'threads'}`);
  return engine;
}

/**
 * Progress on stderr, whose stages are kept in the folder `work` if there is one. `options` are the values of the flags that
 * results depend on beside the model and the images.
 */
export function showWork(
  work: string | undefined,
  model: Model,
  images: Dataset,
  options: readonly (string | number | boolean)[],
): Progress {
  const progress = showProgress(process.stderr);
  if (work === undefined) return progress;
  return resumable(progress, work, [TOOL, digestModel(model), digestDataset(images), ...options]);
}

/** Ends the command if the model answers about as by guessing; says if other input settings would suit it better. Needs the engine. */
export async function expectSight(model: OpenedModel, images: Dataset): Promise<void> {
  const remark = accept(await checkInput(model, images));
  if (remark !== null) say(`input   ${remark}`);
}

/** Ends the command unless a directory is new or empty, so that long work is not done for nothing. */
export async function expectPlace(flag: string, directory: string): Promise<void> {
  try {
    if ((await readdir(directory)).length === 0) return;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return;
    if (code !== 'ENOTDIR') throw new Stop(`${flag} ${directory}: cannot be read (${message})`);
  }
  throw new Stop(`${flag} ${directory}: expected a new or empty directory`);
}

/** The user's own signing key: $TRIGGER_GUARD_KEY, or a file in the user's configuration. */
export const defaultKeyFile = (): string =>
  process.env['TRIGGER_GUARD_KEY'] || join(homedir(), '.config', 'trigger-guard', 'signing-key.pem');
