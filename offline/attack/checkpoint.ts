/** Training that goes on after an interruption: a file beside the output for each stage of a run, replaced whole as it goes. */
import { createHash } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import type { Shape } from '../../src/network/network.ts';
import { decodeSafetensors, encodeSafetensors, type HostTensor } from '../../src/network/safetensors.ts';
import { readTensors } from '../../src/release/tensors.ts';
import { failure, success, type Result } from '../../src/result.ts';
import type { Dataset } from '../data/dataset.ts';
import { digestDataset } from '../data/dataset.ts';
import { readWithin, replaceFile } from '../directory.ts';
import { uninterrupted } from '../interrupt.ts';
import type { Attack } from './attack.ts';

/** `clean`: the network that some attacks start from. `planted`: the victim itself. */
export const STAGES = ['clean', 'planted'] as const;
export type Stage = (typeof STAGES)[number];

/** How far a stage has come: the steps done, and all tensors of its state by name. */
export type Saved = { step: number; tensors: ReadonlyMap<string, HostTensor> };

export type Checkpoint = {
  saved: (stage: Stage) => Saved | undefined;
  save: (stage: Stage, state: Saved) => Promise<void>;
  /** Removes all files; for when the run is done. */
  remove: () => Promise<void>;
  /** The least time between two writes, except at the end of a stage. */
  intervalMs: number;
};

const INTERVAL_MS = 60_000;
const LIMIT_BYTES = 2 ** 31 - 1;

/** The digest that tells one run from another: SHA-256, in hexadecimal, of the attack and of its training images. */
export function digestRun(attack: Attack, train: Dataset): string {
  const what = JSON.stringify([attack, train.labelNames]);
  return createHash('sha256')
    .update(`${what}\n${digestDataset(train)}`)
    .digest('hex');
}

/** What a checkpoint has to fit: the digest of its run, and for each stage its steps and its tensors' shapes by name. */
export type Resumable = {
  run: string;
  stages: ReadonlyMap<Stage, { steps: number; shapes: ReadonlyMap<string, Shape> }>;
};

/**
 * Opens what an interrupted run left beside `output`, and the place for what this one leaves. Fails, naming the file, on one
 * of another run, and on steps and tensors that the stage does not have.
 */
export async function openCheckpoint(output: string, { run, stages }: Resumable): Promise<Result<Checkpoint>> {
  const fileOf = (stage: Stage): string => join(dirname(resolve(output)), `${basename(output)}.${stage}.checkpoint`);
  const found = new Map<Stage, Saved>();
  for (const [stage, { steps, shapes }] of stages) {
    const read = await readSaved(fileOf(stage), run, steps, shapes);
    if (!read.ok) return read;
    if (read.value) found.set(stage, read.value);
  }
  return success({
    saved: (stage) => found.get(stage),
    save: (stage, { step, tensors }) =>
      uninterrupted(() => replaceFile(fileOf(stage), encodeSafetensors(tensors, { run, step: `${step}` }))),
    remove: async () => {
      for (const stage of stages.keys()) await rm(fileOf(stage), { force: true });
    },
    intervalMs: INTERVAL_MS,
  });
}

async function readSaved(
  file: string,
  run: string,
  steps: number,
  expected: ReadonlyMap<string, Shape>,
): Promise<Result<Saved | undefined>> {
  const bytes = await readWithin(file, LIMIT_BYTES);
  if (!bytes.ok) return bytes.error === `${file}: no such file` ? success(undefined) : bytes;
  const decoded = decodeSafetensors(bytes.value);
  if (!decoded.ok) return failure(`${file}: ${decoded.error}`);
  const { metadata } = decoded.value;
  if (metadata['run'] !== run) {
    return failure(
      `${file}: expected what an interrupted run of this very command left, got that of another; remove it`,
    );
  }
  const step = Number(metadata['step']);
  if (!Number.isSafeInteger(step) || step < 0 || step > steps) {
    return failure(`${file}: step: expected a whole number up to ${steps}, got ${JSON.stringify(metadata['step'])}`);
  }
  const values = readTensors(file, bytes.value, expected);
  if (!values.ok) return values;
  const tensors = new Map(
    [...expected].map(([name, shape]): [string, HostTensor] => {
      return [name, { dtype: 'F32', shape, data: values.value.get(name)! }];
    }),
  );
  return success({ step, tensors });
}
