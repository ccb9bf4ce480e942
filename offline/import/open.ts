/** Opens any model that a command takes: a release, the project's own form, or a file of another program. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { parseNetwork } from '../../src/network/network.ts';
import { openRelease } from '../../src/release/release.ts';
import type { Source } from '../../src/release/manifest.ts';
import { failure, success, type Result } from '../../src/result.ts';
import type { Dataset } from '../data/dataset.ts';
import { guardedBy, type Guarded } from '../evaluate.ts';
import { loadPublicKey } from '../keys.ts';
import { loadModel, MODEL_FILES, type Model } from '../model.ts';
import { readReleaseFiles } from '../release.ts';
import { completeDraft, type Draft, type FileTensor, type GivenInput } from './imported.ts';
import { readKeras } from './keras/keras.ts';
import { readOnnx } from './onnx/onnx.ts';
import { recogniseModel, type Recognised } from './recognise.ts';
import { readTfjs } from './tfjs/tfjs.ts';

/** What is kept of a model that came from another program's file: enough to try other settings and to write its weights back. */
export type Imported = {
  format: ImportedFormat;
  /** The file that was read. */
  file: string;
  draft: Draft;
  given: GivenInput;
  places: ReadonlyMap<string, FileTensor>;
};
type ImportedFormat = Exclude<Source['format'], 'release' | 'network'>;

/** A model, whatever it was read from. */
export type OpenedModel = Model & {
  path: string;
  source: Source;
  /** Null for a release and for a model directory. */
  imported: Imported | null;
  /** For a release: where its trunk ends and what watches there. */
  guarded?: Guarded;
};

type Reader = (path: string, given: GivenInput) => Promise<Result<Draft>>;
const READERS: Record<ImportedFormat, Reader> = { onnx: readOnnx, h5: readKeras, keras: readKeras, tfjs: readTfjs };

/**
 * Opens what lies at `path`. A release must be signed by the public key in `publicKeyFile`; a model directory and a release state
 * their input themselves, so that `given` must be empty for them. The error names the path, or the flag that does not fit.
 */
export async function openModel(path: string, given: GivenInput, publicKeyFile: string): Promise<Result<OpenedModel>> {
  const recognised = await recogniseModel(path);
  if (!recognised.ok) return recognised;
  const { format } = recognised.value;
  if (format !== 'release' && format !== 'network') return importModel(path, { ...recognised.value, format }, given);
  const [flag] = Object.keys(given);
  if (flag !== undefined) {
    const form = format === 'release' ? 'a release' : 'a model directory';
    return failure(
      `--${flag}: expected a model file of another program with it, got ${path}, ${form} that states its input itself`,
    );
  }
  return format === 'release' ? openReleaseModel(path, publicKeyFile) : openOwnModel(recognised.value);
}

async function openReleaseModel(path: string, publicKeyFile: string): Promise<Result<OpenedModel>> {
  const files = await readReleaseFiles(path);
  if (!files.ok) return files;
  const trusted = await loadPublicKey(publicKeyFile);
  if (!trusted.ok) return trusted;
  const options = { trustedKeys: [trusted.value], now: new Date(), subtle: crypto.subtle };
  const opened = await openRelease(files.value, options);
  if (!opened.ok) return failure(`${path}: ${opened.error}`);
  const { manifest, weights, digest } = opened.value;
  const source: Source = { format: 'release', digest, input: null };
  const guarded = guardedBy(opened.value);
  return success({ network: manifest.network, weights, path, source, imported: null, guarded });
}

async function openOwnModel({ path }: Recognised): Promise<Result<OpenedModel>> {
  const model = await loadModel(path);
  if (!model.ok) return model;
  const digest = await digestFiles(MODEL_FILES.map((name) => join(path, name)));
  return success({ ...model.value, path, source: { format: 'network', digest, input: null }, imported: null });
}

async function importModel(
  path: string,
  { format, path: file }: Recognised & { format: ImportedFormat },
  given: GivenInput,
): Promise<Result<OpenedModel>> {
  const draft = await READERS[format](file, given);
  if (!draft.ok) return draft;
  const model = completeDraft(draft.value, given);
  if (!model.ok) return failure(model.error.startsWith('--') ? model.error : `${path}: ${model.error}`);
  const { network, weights, input, places } = model.value;
  const source: Source = { format, digest: await digestFiles([file]), input };
  return success({ network, weights, path, source, imported: { format, file, draft: draft.value, given, places } });
}

/** The model with the names that the images give its labels, if its file names none (only `0`, `1`, ...) and they name as many. */
export function adoptLabelNames(model: OpenedModel, { labelNames }: Dataset): OpenedModel {
  const { network } = model;
  const unnamed = network.labelNames.every((name, label) => name === `${label}`);
  if (!model.imported || !unnamed || labelNames?.length !== network.labelNames.length) return model;
  const named = parseNetwork({ ...network, labelNames });
  return named.ok ? { ...model, network: named.value } : model;
}

/** The SHA-256 of one file, or that of the SHA-256 digests of several, 64 hex digits. */
async function digestFiles(paths: readonly string[]): Promise<string> {
  const digests: Buffer[] = [];
  for (const path of paths) {
    const hash = createHash('sha256');
    for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
    digests.push(hash.digest());
  }
  const [only] = digests;
  if (digests.length === 1) return only!.toString('hex');
  return createHash('sha256').update(Buffer.concat(digests)).digest('hex');
}
