/** The memory of a running worker, as Linux counts it. */
import { readdir, readFile } from 'node:fs/promises';

/** The process of workerd that this process started, the only one. Throws when there is none, and where there is no /proc. */
export async function workerdProcess(): Promise<number> {
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const stat = await readFile(`/proc/${name}/stat`, 'utf8').catch(() => '');
    const [, command, parent] = /^\d+ \((.*)\) \S (\d+)/.exec(stat) ?? [];
    if (command === 'workerd' && Number(parent) === process.pid) return Number(name);
  }
  throw new Error('expected a process of workerd that this one started');
}

/** Resident memory in MB. */
export async function residentMegabytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)![1]) / 1000;
}

export type Sample = { atMs: number; megabytes: number };

/** By how much the mean of the last tenth of the samples is above that of the first, as a share of the first. */
export function growth(samples: readonly Sample[]): number {
  const tenth = Math.max(1, Math.floor(samples.length / 10));
  const mean = (part: readonly Sample[]): number =>
    part.reduce((sum, { megabytes }) => sum + megabytes, 0) / part.length;
  return mean(samples.slice(-tenth)) / mean(samples.slice(0, tenth)) - 1;
}
