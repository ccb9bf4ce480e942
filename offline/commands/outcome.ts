/** How a command ends: its exit code, and the one sentence of a command that cannot go on. */
import { CommanderError } from 'commander';
import type { Result } from '../../src/result.ts';

export const EXIT = {
  done: 0,
  internalError: 1,
  badInput: 2,
  gateFailed: 3,
  backdoorFound: 4,
  interrupted: 130,
} as const;

/** Ends the command: its message goes to stderr, its exit code to the caller. */
export class Stop extends Error {
  readonly exitCode: number;

  constructor(message: string, exitCode: number = EXIT.badInput) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** The value of a result; bad input ends the command. */
export function accept<T>(result: Result<T>): T {
  if (!result.ok) throw new Stop(result.error);
  return result.value;
}

/** Prints what a command found: one JSON document if it is asked for, else the text. Nothing else goes to stdout. */
export function print(json: boolean | undefined, value: unknown, text: () => string): void {
  process.stdout.write(`${json ? JSON.stringify(value, null, 2) : text()}\n`);
}

/** Says what ended a program, unless commander has said it, and gives the exit code for it. */
export function exitCodeOf(error: unknown): number {
  // Commander has already said what was wrong.
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.badInput;
  if (error instanceof Stop) {
    process.stderr.write(`error: ${error.message}\n`);
    return error.exitCode;
  }
  process.stderr.write(`internal error: ${error instanceof Error ? error.stack : String(error)}\n`);
  return EXIT.internalError;
}
