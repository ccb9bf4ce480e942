/** `npm run bench -- NAME`: measures what the project promises, on this machine. */
import { Command } from 'commander';
import { runProgram } from '../commands/program.ts';
import { addDefenseBench } from './defense/command.ts';
import { addEdgeBench } from './edge/command.ts';
import { benchImport } from './import.ts';
import { benchKernels } from './kernels.ts';

const program = new Command('bench').helpCommand(false);
program.command('import').description('time and memory of importing a large ONNX file').action(benchImport);
program.command('kernels').description('convolutions beside those of the tfjs WASM backend').action(benchKernels);
addDefenseBench(program);
addEdgeBench(program);
await runProgram(program);
