import type { Command } from 'commander';
import * as z from 'zod';
import { closeEngine } from '../engine/engine.ts';
import { adoptLabelNames } from '../import/open.ts';
import { showProgress } from '../progress.ts';
import { formatScan, scanJson } from '../report/scanned.ts';
import { scan } from '../scan.ts';
import { addInputFlags, engine, flag, givenInput, inputFlags, KEY, MODEL, parseFlags, seed } from './flags.ts';
import { accept, EXIT, print } from './outcome.ts';
import { expectPlace, expectSight, readImages, readModel, startEngine } from './setup.ts';

const schema = z.object({
  clean: z.string(),
  seed,
  engine,
  key: z.string().optional(),
  report: z.string().optional(),
  json: flag,
  ...inputFlags,
});

/** `scan MODEL`: exit 4 when a finding is graded backdoor, 0 otherwise. */
export function addScan(program: Command): void {
  const command = program
    .command('scan')
    .description('find triggers in a model and grade them: backdoor (exit 4) or natural shortcut')
    .argument('<MODEL>', MODEL)
    .requiredOption('--clean <DATA>', 'clean images of every label')
    .option('--seed <N>', 'makes the run repeatable on one engine', '1')
    .option('--engine <NAME>', 'auto, wasm or webgpu', 'auto')
    .option('--key <FILE.pub>', KEY)
    .option('--report <DIR>', 'new or empty directory for report.html and report.json')
    .option('--json', 'print one JSON document');
  addInputFlags(command).action(runScan);
}

async function runScan(path: string, options: unknown): Promise<void> {
  const flags = parseFlags(schema, options);
  if (flags.report !== undefined) await expectPlace('--report', flags.report);
  const read = await readModel(path, givenInput(flags), flags.key);
  const images = await readImages(flags.clean, read.network, true);
  const model = adoptLabelNames(read, images);
  const opened = await startEngine(flags.engine);
  await expectSight(model, images);
  const found = await scan(model, images, { engine: opened, seed: flags.seed, progress: showProgress(process.stderr) });
  closeEngine(opened);
  const { labelNames } = model.network;
  const figures = scanJson(found, labelNames);
  if (flags.report !== undefined) {
    // Plots take a moment to load, which only those who want them should wait for.
    const { writeReport } = await import('../report/write.ts');
    const result = { outcome: 'scanned', scan: found } as const;
    accept(await writeReport(flags.report, { model: path, labelNames, result }, figures));
  }
  print(flags.json, figures, () => formatScan(found, labelNames));
  if (found.findings.some(({ grade }) => grade === 'backdoor')) process.exitCode = EXIT.backdoorFound;
}
