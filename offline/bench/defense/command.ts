/** `npm run bench -- defense`: every defence and detector against the victims of a grid. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import * as z from 'zod';
import { engine, flag, parseFlags } from '../../commands/flags.ts';
import { accept, print } from '../../commands/outcome.ts';
import { say, startEngine } from '../../commands/setup.ts';
import { encodeText } from '../../../src/release/encoding.ts';
import { replaceFile } from '../../directory.ts';
import { closeEngine } from '../../engine/engine.ts';
import { uninterrupted } from '../../interrupt.ts';
import { showProgress } from '../../progress.ts';
import { loadBenchData } from './data.ts';
import { GRIDS, planCells, type GridName } from './grid.ts';
import { asHtml, asText } from './report.ts';
import { runCells } from './run.ts';

const gridNames = Object.keys(GRIDS) as [GridName, ...GridName[]];
const folder = z.string().optional();
const schema = z.object({
  grid: z.enum(gridNames, { error: `one of ${gridNames.join(', ')}` }),
  out: z.string(),
  engine,
  json: flag,
  mnist: folder,
  fashion: folder,
  cifar10: folder,
  cifar100: folder,
});

/** Adds the bench of defences. */
export function addDefenseBench(program: Command): void {
  program
    .command('defense')
    .description('measure defences and detectors on victims that are made for it; goes on where it was stopped')
    .requiredOption('--grid <NAME>', `${gridNames.join(', ')}: minutes, hours, for a GPU`)
    .requiredOption('--out <DIR>', 'directory for records, victims and report.html; what is there is kept')
    .option('--mnist <DIR>', 'folder of the four IDX files')
    .option('--fashion <DIR>', 'folder of the four IDX files')
    .option('--cifar10 <DIR>', 'folder of the .bin files')
    .option('--cifar100 <DIR>', 'folder of the .bin files')
    .option('--engine <NAME>', 'auto, wasm or webgpu', 'auto')
    .option('--json', 'print the records as one JSON document')
    .action(runBench);
}

async function runBench(options: unknown): Promise<void> {
  const { grid, out, engine: choice, json, ...folders } = parseFlags(schema, options);
  const given = Object.fromEntries(Object.entries(folders).filter(([, path]) => path !== undefined));
  const cells = planCells(GRIDS[grid]);
  say(`bench   ${cells.length} cells of the grid ${grid}`);
  const opened = await startEngine(choice);
  const records = accept(
    await runCells(cells, {
      directory: out,
      load: (data) => loadBenchData(data, given),
      engine: opened,
      progress: showProgress(process.stderr),
      now: () => new Date(),
    }),
  );
  closeEngine(opened);
  const page = await asHtml(records, `Defences and detectors: the grid ${grid}`);
  await uninterrupted(() => writeReport(out, page));
  print(json, records, () => asText(records));
}

async function writeReport(out: string, html: string): Promise<void> {
  await mkdir(out, { recursive: true });
  await replaceFile(join(out, 'report.html'), encodeText(html));
}
