#!/usr/bin/env node
/** The command line; every command is a file in commands/. */
import { Command } from 'commander';
import { addAttack } from './commands/attack.ts';
import { addDemo } from './commands/demo.ts';
import { addDoctor } from './commands/doctor.ts';
import { addEvaluate } from './commands/evaluate.ts';
import { addExport } from './commands/export.ts';
import { addInspect } from './commands/inspect.ts';
import { addKeys } from './commands/keys.ts';
import { runProgram } from './commands/program.ts';
import { addPublish } from './commands/publish.ts';
import { addPurify } from './commands/purify.ts';
import { addRollout } from './commands/rollout.ts';
import { addScan } from './commands/scan.ts';

const exitCodes = `
Exit codes: 0 done, 1 internal error, 2 bad input, 3 gate failed, 4 backdoor found (scan), 130 interrupted.
Results go to stdout, progress and complaints to stderr.`;

const program = new Command('trigger-guard')
  .description('Finds, removes and watches for backdoors in image classifiers.')
  .helpCommand(false)
  .addHelpText('after', exitCodes);
const commands = [
  addDemo,
  addInspect,
  addPurify,
  addScan,
  addEvaluate,
  addExport,
  addPublish,
  addRollout,
  addKeys,
  addAttack,
  addDoctor,
];
for (const add of commands) add(program);
await runProgram(program);
