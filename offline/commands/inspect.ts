import type { Command } from 'commander';
import * as z from 'zod';
import { formatInspected, inspectedJson } from '../report/inspected.ts';
import { addInputFlags, flag, givenInput, inputFlags, KEY, MODEL, parseFlags } from './flags.ts';
import { print } from './outcome.ts';
import { readModel } from './setup.ts';

const schema = z.object({ key: z.string().optional(), json: flag, ...inputFlags });

/** `inspect MODEL`: needs neither images nor an engine. */
export function addInspect(program: Command): void {
  const command = program
    .command('inspect')
    .description('show the layers, input, candidate cuts and edge memory of a model')
    .argument('<MODEL>', MODEL)
    .option('--key <FILE.pub>', KEY)
    .option('--json', 'print one JSON document');
  addInputFlags(command).action(runInspect);
}

async function runInspect(path: string, options: unknown): Promise<void> {
  const flags = parseFlags(schema, options);
  const inspected = inspectedJson(await readModel(path, givenInput(flags), flags.key));
  print(flags.json, inspected, () => formatInspected(inspected));
}
