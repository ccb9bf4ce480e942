/** `npm run bench -- NAME`: measures what the project promises, on this machine. */
import { Command } from 'commander';
import { EXIT, exitCodeOf } from '../commands/outcome.ts';
import { endOnInterrupt } from '../interrupt.ts';
import { addDefenseBench } from './defense/command.ts';
import { benchImport } from './import.ts';

const program = new Command('bench').helpCommand(false).exitOverride();
program.command('import').description('time and memory of importing a large ONNX file').action(benchImport);
addDefenseBench(program);
for (const command of program.commands) command.exitOverride();

endOnInterrupt(EXIT.interrupted);
try {
  await program.parseAsync();
} catch (error) {
  process.exit(exitCodeOf(error));
}
