/**
 * `npx node test/bench/compare-pytorch.ts MODEL CLEAN.safetensors`: the time of `purify` beside the same work in PyTorch
 * (purify_torch.py, Debian's python3-torch), one after the other on the same machine. Needs /usr/bin/python3 with torch and numpy.
 */
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as z from 'zod';
import { openModel } from '../../offline/import/open.ts';
import { saveModel } from '../../offline/model.ts';
import { table } from '../../offline/report/text.ts';
import { foldBatchNorm } from '../../src/network/fold.ts';
import type { Result } from '../../src/result.ts';

const PYTHON = '/usr/bin/python3';
const ROOT = join(import.meta.dirname, '..', '..');
const theirs = z.object({ torch: z.string(), threads: z.number(), seconds: z.record(z.string(), z.number()) });
const value = <T>(result: Result<T>): T => {
  if (!result.ok) throw new Error(result.error);
  return result.value;
};

async function output(command: string, args: readonly string[]): Promise<{ stdout: string; stderr: string }> {
  const child = spawn(command, args, { cwd: ROOT });
  const texts = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => (texts[name] += text));
  }
  await new Promise((resolve, reject) => child.on('close', resolve).on('error', reject));
  return texts;
}

/** Seconds of each stage, from what `purify` says on stderr. */
function stageSeconds(stderr: string): Map<string, number> {
  const seconds = new Map<string, number>();
  for (const [, name, label, time] of stderr.matchAll(/^ *\d+:\d+ {2}(\w+) +(.*?) +done in ([\d.]+) s$/gm)) {
    const stage = label!.includes('once more') ? 'screen again' : name!;
    seconds.set(stage, (seconds.get(stage) ?? 0) + Number(time));
  }
  return seconds;
}

const [path, clean] = process.argv.slice(2);
if (!path || !clean) throw new Error('expected MODEL and CLEAN.safetensors');
const folder = await mkdtemp(join(tmpdir(), 'trigger-guard-compare-'));
try {
  const model = value(await openModel(path, {}, ''));
  value(await saveModel(join(folder, 'model'), foldBatchNorm(model.network, model.weights)));
  const flags = ['--clean', clean, '--out', join(folder, 'release'), '--key', join(folder, 'key.pem'), '--force'];
  const script = join(import.meta.dirname, 'purify_torch.py');
  const printed = await output(PYTHON, [script, join(folder, 'model'), clean]);
  if (!printed.stdout) throw new Error(printed.stderr);
  const { torch, threads, seconds } = theirs.parse(JSON.parse(printed.stdout));
  const ours = stageSeconds((await output(process.execPath, ['offline/cli.ts', 'purify', path, ...flags])).stderr);
  const rows = Object.entries(seconds).map(([stage, time]) => {
    const own = ours.get(stage);
    return [stage, own?.toFixed(1) ?? '-', time.toFixed(1), own ? (own / time).toFixed(2) : '-'];
  });
  const sum = (values: Iterable<number>): number => [...values].reduce((total, time) => total + time, 0);
  const [all, other] = [sum(ours.values()), sum(Object.values(seconds))];
  const total = ['all', all.toFixed(1), other.toFixed(1), (all / other).toFixed(2)];
  const head = ['stage', 'trigger-guard, s', `PyTorch ${torch}, ${threads} threads, s`, 'ratio'];
  process.stdout.write(`${table([head, ...rows, total])}\n`);
} finally {
  await rm(folder, { recursive: true });
}
