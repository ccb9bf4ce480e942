/** From a scan to what is unlearned: the staircases of the findings, and the relatives of what they gave. */
import type { Progress } from './progress.ts';
import { relativesOf } from './recover/grow.ts';
import type { Measured } from './recover/measure.ts';
import { climbStaircases } from './recover/pool.ts';
import type { Recovery } from './recover/screening.ts';
import type { Finding, Scan } from './scan.ts';
import type { UnlearnInput } from './unlearn/cut.ts';

export type Recovered = {
  /** The pool of each label as it was measured, the smallest trigger first. */
  measured: Map<number, Measured[]>;
  /** What unlearning takes. */
  input: UnlearnInput;
};

/** Climbs the staircase of each of some findings of a scan, and grows their triggers. */
export async function recoverTriggers(
  recovery: Recovery,
  scan: Scan,
  findings: readonly Finding[],
  progress: Progress,
): Promise<Recovered> {
  const measured = await climbFindings(findings, recovery, progress);
  const relatives = await progress.stage('strengthen', 'up to natural norms', (report) =>
    relativesOf(recovery, measured, scan, report),
  );
  const pools = [...measured.values()].map((pool) => pool.map(({ trigger }) => trigger));
  return { measured, input: { ...recovery, ...relatives, pools } };
}

/** The pool of each finding's label, with what its staircase gave. */
async function climbFindings(
  findings: readonly Finding[],
  recovery: Recovery,
  progress: Progress,
): Promise<Map<number, Measured[]>> {
  if (!findings.length) return new Map();
  const names = findings.map(({ targetLabel }) => recovery.network.labelNames[targetLabel]).join(', ');
  const found = new Map(findings.map(({ targetLabel, pool }) => [targetLabel, pool]));
  return progress.stage('staircase', names, (report) => climbStaircases(recovery, found, report));
}
