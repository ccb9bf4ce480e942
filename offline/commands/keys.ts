import type { Command } from 'commander';
import * as z from 'zod';
import { ROLES } from '../../src/api/route.ts';
import { createKey, createToken } from '../keys.ts';
import { flag, parseFlags } from './flags.ts';
import { accept, print, Stop } from './outcome.ts';

const role = z.enum(ROLES, { error: `one of ${ROLES.join(', ')}` });
const schema = z.object({ signingKey: z.string().optional(), role: role.optional(), json: flag });

/** `keys new`: a token is shown here once and stored nowhere. */
export function addKeys(program: Command): void {
  program
    .command('keys')
    .description('make signing keys and tokens')
    .command('new')
    .description('make a signing key, a token of a role, or both')
    .option('--signing-key <FILE>', 'new file for the private key (mode 0600); the public key goes to FILE.pub')
    .option('--role <ROLE>', `what the token opens: ${ROLES.join(', ')}`)
    .option('--json', 'print JSON')
    .action(runKeysNew);
}

async function runKeysNew(options: unknown): Promise<void> {
  const { signingKey: file, role, json } = parseFlags(schema, options);
  if (file === undefined && role === undefined) throw new Stop('keys new: expected --signing-key, --role or both');
  const key = file === undefined ? undefined : accept(await createKey(file));
  const signing = key && { file, publicKey: Buffer.from(key.publicKey).toString('base64') };
  const token = role && { role, ...createToken() };
  const signingLines = signing && [
    `signing key  ${signing.file} (keep it secret; the public key is beside it in ${signing.file}.pub)`,
    `public key   ${signing.publicKey} (goes into the secret RELEASE_PUBLIC_KEYS)`,
  ];
  const tokenLines = token && [
    `token        ${token.token} (shown only now; opens ${token.role})`,
    `its SHA-256  ${token.sha256} (goes into the secret ${token.role.toUpperCase()}_TOKEN_SHA256)`,
  ];
  print(json, { signing, token }, () => [...(signingLines ?? []), ...(tokenLines ?? [])].join('\n'));
}
