/** What trigger-based methods share about one victim: recovered once, as `purify` does it. */
import type { Trigger } from '../../src/trigger/trigger.ts';
import type { Dataset } from '../data/dataset.ts';
import type { Model } from '../model.ts';
import { relativesOf, type Relatives } from '../recover/grow.ts';
import type { Recovery } from '../recover/screening.ts';
import { climbFindings, investigate, isBackdoor, type Finding, type ScanOptions } from '../scan.ts';

export type Recovered = {
  findings: Finding[];
  /** The pool of each label that was graded a backdoor. */
  pools: Trigger[][];
  /** Which only our own unlearning takes. */
  relatives: Relatives;
  recovery: Recovery;
};

/** Scans a victim and climbs the staircase of each label that is graded a backdoor. */
export async function recoverTriggers(model: Model, clean: Dataset, options: ScanOptions): Promise<Recovered> {
  const { scan, recovery } = await investigate(model, clean, options);
  const climbed = await climbFindings(scan.findings.filter(isBackdoor), recovery, options.progress);
  const relatives = await options.progress.stage('strengthen', 'up to natural norms', (report) =>
    relativesOf(recovery, climbed, scan, report),
  );
  return {
    findings: scan.findings,
    relatives,
    pools: [...climbed.values()].map((pool) => pool.map(({ trigger }) => trigger)),
    recovery,
  };
}
