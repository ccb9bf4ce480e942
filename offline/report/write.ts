/** A report on disk: the page for people, the figures for programs. */
import { loadVictim } from '../attack/victim-files.ts';
import { writeDirectory } from '../directory.ts';
import type { Result } from '../../src/result.ts';
import type { Trigger } from '../../src/trigger/trigger.ts';
import { reportPage, type Reported } from './page.ts';

/**
 * Writes `report.html` and `report.json` into a new or empty directory, all or none. Where the model is a victim of the attack lab, its planted
 * triggers are shown beside the recovered ones: nothing else ever sees them.
 */
export async function writeReport(
  directory: string,
  reported: Omit<Reported, 'trueTriggers'>,
  figures: unknown,
): Promise<Result<null>> {
  const page = await reportPage({ ...reported, trueTriggers: await plantedTriggers(reported.model) });
  const text = new TextEncoder();
  return writeDirectory(
    directory,
    new Map([
      ['report.html', text.encode(page)],
      ['report.json', text.encode(`${JSON.stringify(figures, null, 2)}\n`)],
    ]),
  );
}

async function plantedTriggers(path: string): Promise<Trigger[]> {
  const victim = await loadVictim(path);
  if (!victim.ok) return [];
  return victim.value.triggers.flatMap((planted) => (planted.form === 'fixed' ? [planted.trigger] : []));
}
