/** How long a 45 MB ONNX file takes to import, and how much memory: in a process of its own, from its start. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import * as z from 'zod';
import { exportModel } from '../export/export.ts';
import { untrainedModel } from './untrained.ts';

const measured = z.object({ seconds: z.number(), peakBytes: z.number(), layers: z.number() });

/** What importing took: `seconds` since the process began, `peakBytes` of memory that it held, Node's own included. */
export type ImportCost = z.infer<typeof measured>;

/** Imports an ONNX file of NHWC images in 0..1 in a fresh process; throws when that fails. */
export async function measureImport(file: string): Promise<ImportCost> {
  const child = join(import.meta.dirname, 'import-once.ts');
  const { stdout } = await promisify(execFile)(process.execPath, [child, file]);
  return measured.parse(JSON.parse(stdout));
}

/** Exports a ResNet-18 with random weights, imports it three times, and prints what each took. */
export async function benchImport(): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'trigger-guard-bench-'));
  try {
    const file = join(directory, 'resnet18.onnx');
    const written = await exportModel(untrainedModel('resnet18', 1), 'onnx', file);
    if (!written.ok) throw new Error(written.error);
    const { size } = await stat(file);
    process.stdout.write(`ResNet-18 as ONNX: ${megabytes(size)}; the bars: under 3 s and under 400 MB\n`);
    for (let run = 1; run <= 3; run++) {
      const { seconds, peakBytes } = await measureImport(file);
      process.stdout.write(`run ${run}: ${seconds.toFixed(2)} s, ${megabytes(peakBytes)} of memory at most\n`);
    }
  } finally {
    await rm(directory, { recursive: true });
  }
}

const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;
