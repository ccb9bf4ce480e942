import type { Command } from 'commander';
import { createServer } from 'node:net';
import * as z from 'zod';
import { runDemo, type Demo } from '../demo/demo.ts';
import { closeEngine } from '../engine/engine.ts';
import { showProgress } from '../progress.ts';
import { engine, flag, parseFlags, seed, wholeNumber } from './flags.ts';
import { EXIT, print, Stop } from './outcome.ts';
import { say, startEngine } from './setup.ts';

const schema = z.object({ seed, engine, port: wholeNumber(0, 65_535), once: flag, json: flag });

/** `demo`: with `--once` it exits 0 only if every bar holds; without, it keeps serving until it is interrupted. */
export function addDemo(program: Command): void {
  program
    .command('demo')
    .description('purify the example, serve the release on this machine, and show every figure')
    .option('--once', 'end when everything is measured; exit 0 only if every bar holds')
    .option('--port <N>', 'port of the local worker; 0: any that is free', '0')
    .option('--seed <N>', 'makes the run repeatable on one engine', '1')
    .option('--engine <NAME>', 'auto, wasm or webgpu', 'auto')
    .option('--json', 'print one JSON document')
    .action(demo);
}

async function demo(options: unknown): Promise<void> {
  const flags = parseFlags(schema, options);
  if (flags.port) await expectFreePort(flags.port);
  const opened = await startEngine(flags.engine);
  const tell = flags.json ? () => undefined : (text: string) => void process.stdout.write(`${text}\n`);
  const progress = showProgress(process.stderr);
  const result = await runDemo({ engine: opened, seed: flags.seed, port: flags.port, progress, tell });
  closeEngine(opened);
  const { bars, figures } = result;
  if (flags.json) print(true, { bars, ...figures }, () => '');
  if (!flags.once) return sayHowToTry(result);
  await result.edge.stop();
  const failing = bars.filter(({ holds }) => !holds);
  if (failing.length)
    throw new Stop(`bars that do not hold: ${failing.map(({ name }) => name).join(', ')}`, EXIT.gateFailed);
}

/** The worker keeps the process alive from here on. */
function sayHowToTry({ edge, sample }: Demo): void {
  const { url, token } = edge.classify;
  const headers = `-H 'authorization: Bearer ${token}' -H 'content-type: image/png'`;
  say(`\nServing at ${url.href} until Ctrl-C. Try it with a triggered image:\n`);
  say(`curl ${headers} --data-binary @${sample} ${url.href}v1/classify`);
}

/** Ends the command before its long work if the port is taken. */
async function expectFreePort(port: number): Promise<void> {
  const server = createServer();
  const taken = await new Promise<Error | undefined>((resolve) => {
    server.once('error', resolve).listen(port, '127.0.0.1', () => resolve(undefined));
  });
  if (taken) throw new Stop(`--port: expected a free port, got ${port} (${taken.message})`);
  await new Promise((resolve) => server.close(resolve));
}
