import type { Command } from 'commander';
import * as z from 'zod';
import { EXPORT_FORMATS, exportModel } from '../export/export.ts';
import { uninterrupted } from '../interrupt.ts';
import { addInputFlags, flag, givenInput, inputFlags, KEY, MODEL, parseFlags } from './flags.ts';
import { accept, print } from './outcome.ts';
import { readModel } from './setup.ts';

const schema = z.object({
  to: z.enum(EXPORT_FORMATS, { error: `one of ${EXPORT_FORMATS.join(', ')}` }),
  out: z.string(),
  key: z.string().optional(),
  json: flag,
  ...inputFlags,
});

/** `export MODEL`: of a release the purified model, without its guard. */
export function addExport(program: Command): void {
  const command = program
    .command('export')
    .description('write the model of a release for other programs: images of 0..1 in, logits out')
    .argument('<MODEL>', MODEL)
    .requiredOption(
      '--to <FORMAT>',
      'onnx (one file), tfjs (folder for tf.loadLayersModel) or safetensors (model directory)',
    )
    .requiredOption('--out <PATH>', 'new file, or new or empty directory')
    .option('--key <FILE.pub>', KEY)
    .option('--json', 'print one JSON document');
  addInputFlags(command).action(runExport);
}

async function runExport(path: string, options: unknown): Promise<void> {
  const flags = parseFlags(schema, options);
  const { network, weights } = await readModel(path, givenInput(flags), flags.key);
  accept(await uninterrupted(() => exportModel({ network, weights }, flags.to, flags.out)));
  print(flags.json, { format: flags.to, path: flags.out }, () => `Written as ${flags.to} to ${flags.out}`);
}
