#!/usr/bin/env node
/** The command line; every command is a file in commands/. */
import { Command } from 'commander';
import { addAttack } from './commands/attack.ts';
import { addDemo } from './commands/demo.ts';
import { addDoctor } from './commands/doctor.ts';
import { addEvaluate } from './commands/evaluate.ts';
import { addExport } from './commands/export.ts';
import { addInspect } from './commands/inspect.ts';
import { EXIT, exitCodeOf } from './commands/outcome.ts';
import { addPublish } from './commands/publish.ts';
import { addPurify } from './commands/purify.ts';
import { addScan } from './commands/scan.ts';
import { endOnInterrupt } from './interrupt.ts';

const exitCodes = `
Exit codes: 0 done, 1 internal error, 2 bad input, 3 gate failed, 4 backdoor found (scan), 130 interrupted.
Results go to stdout, progress and complaints to stderr.`;

const program = new Command('trigger-guard')
  .description('Finds, removes and watches for backdoors in image classifiers.')
  .helpCommand(false)
  .addHelpText('after', exitCodes)
  .exitOverride();
const commands = [addDemo, addInspect, addPurify, addScan, addEvaluate, addExport, addPublish, addAttack, addDoctor];
for (const add of commands) add(program);
// Set before parsing, for subcommands only inherit what was there when they were made.
for (const command of program.commands) command.exitOverride();

endOnInterrupt(EXIT.interrupted);
try {
  await program.parseAsync();
} catch (error) {
  // An engine that is still open would keep the process alive.
  process.exit(exitCodeOf(error));
}
