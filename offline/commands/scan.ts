import type { Command } from 'commander';
import * as z from 'zod';
import { closeEngine } from '../engine/engine.ts';
import { adoptLabelNames } from '../import/open.ts';
import { formatScan, scanJson } from '../report/scanned.ts';
import { scan } from '../scan.ts';
import { addInputFlags, engine, flag, givenInput, inputFlags, KEY, MODEL, parseFlags, seed } from './flags.ts';
import { accept, EXIT, print } from './outcome.ts';
import { expectPlace, readClean, readModel, seeClean, showWork, startEngine } from './setup.ts';

const schema = z.object({
  clean: z.string(),
  unlabelled: flag,
  seed,
  engine,
  key: z.string().optional(),
  report: z.string().optional(),
  work: z.string().optional(),
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
    .option('--unlabelled', "the clean images have no labels: the model's own answers stand for them")
    .option('--seed <N>', 'makes the run repeatable on one engine', '1')
    .option('--engine <NAME>', 'auto, wasm or webgpu', 'auto')
    .option('--key <FILE.pub>', KEY)
    .option('--report <DIR>', 'new or empty directory for report.html and report.json')
    .option('--work <DIR>', 'keep finished stages there, so that a run that was stopped goes on when it is repeated')
    .option('--json', 'print one JSON document');
  addInputFlags(command).action(runScan);
}

async function runScan(path: string, options: unknown): Promise<void> {
  const flags = parseFlags(schema, options);
  if (flags.report !== undefined) await expectPlace('--report', flags.report);
  const read = await readModel(path, givenInput(flags), flags.key);
  const given = await readClean(flags.clean, flags.unlabelled, read.network);
  const model = adoptLabelNames(read, given);
  const opened = await startEngine(flags.engine);
  const images = await seeClean(model, given, flags.unlabelled);
  const progress = showWork(flags.work, model, images, [flags.seed, opened.kind]);
  const found = await scan(model, images, { engine: opened, seed: flags.seed, progress });
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
