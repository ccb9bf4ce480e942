import type { Command } from 'commander';
import { endOnInterrupt } from '../interrupt.ts';
import { EXIT, exitCodeOf } from './outcome.ts';

/** Runs the command that the command line names, and ends the process with its exit code if it fails or is interrupted. */
export async function runProgram(program: Command): Promise<void> {
  // Set last, for subcommands only inherit what was there when they were made.
  for (const command of withSubcommands(program)) command.exitOverride();
  endOnInterrupt(EXIT.interrupted);
  try {
    await program.parseAsync();
  } catch (error) {
    // An engine that is still open would keep the process alive.
    process.exit(exitCodeOf(error));
  }
}

const withSubcommands = (command: Command): Command[] => [command, ...command.commands.flatMap(withSubcommands)];
