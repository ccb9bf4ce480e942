import type { Command } from 'commander';
import * as z from 'zod';
import { publishRelease } from '../publish.ts';
import { flag, parseFlags } from './flags.ts';
import { accept, print, Stop } from './outcome.ts';

const schema = z.object({ to: z.string(), storeOnly: flag, tokenEnv: z.string() });

/** `publish DIR --to URL`: the token comes from the environment only, where no list of processes shows it. */
export function addPublish(program: Command): void {
  program
    .command('publish')
    .description('store a release on a worker and make it the one that serves at once')
    .argument('<DIR>', 'release directory')
    .requiredOption('--to <URL>', 'where the worker answers')
    .option('--store-only', 'do not make it serve: `rollout start` does so step by step')
    .option(
      '--token-env <NAME>',
      "environment variable that holds the publisher's token",
      'TRIGGER_GUARD_PUBLISH_TOKEN',
    )
    .action(runPublish);
}

async function runPublish(directory: string, options: unknown): Promise<void> {
  const { to, storeOnly, tokenEnv } = parseFlags(schema, options);
  const token = process.env[tokenEnv];
  if (!token) throw new Stop(`--token-env: expected the publisher's token in $${tokenEnv}, got none`);
  const { digest } = accept(await publishRelease(directory, { url: to, token, activate: !storeOnly }));
  print(false, undefined, () => `Release ${digest} ${storeOnly ? 'is stored' : 'serves'} at ${to}`);
}
