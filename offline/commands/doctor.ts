import type { Command } from 'commander';
import { doctor, formatDoctor } from '../doctor.ts';
import { EXIT, print } from './outcome.ts';

/** `doctor`: exit 1 when no engine works here. */
export function addDoctor(program: Command): void {
  program
    .command('doctor')
    .description('say what the engine runs on here, how fast, whether its numbers are right, and what is missing')
    .option('--json', 'print one JSON document')
    .action(async ({ json }: { json?: boolean }) => {
      const report = await doctor();
      print(json, report, () => formatDoctor(report));
      if (!report.engine.ok || !report.numerics?.ok) process.exitCode = EXIT.internalError;
    });
}
