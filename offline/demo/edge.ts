/** The demo's edge: local workers that serve the release, reached with fresh random tokens. */
import { join } from 'node:path';
import { ROLES, type Role } from '../../src/api/route.ts';
import { accept } from '../commands/outcome.ts';
import { createToken } from '../keys.ts';
import { publishRelease } from '../publish.ts';
import { startTwins, startWorker, type Bundle, type LocalWorker, type Variables } from '../serve.ts';
import type { Endpoint } from './http.ts';

type Tokens = Record<Role, string>;

export type Served = { bundle: Bundle; release: string; publicKey: Uint8Array };
export type Edge = { classify: Endpoint; operate: Endpoint; stop(): Promise<void> };

/** Starts a worker that keeps what it stores under `folder`, and publishes the release to it. */
export async function startEdge(served: Served, folder: string, port: number): Promise<Edge> {
  const { tokens, variables } = newSecrets(served.publicKey);
  const worker = await startWorker(served.bundle, { variables, folder: join(folder, 'edge'), port });
  await publish(worker, served.release, tokens);
  const { url, miniflare } = worker;
  return {
    classify: { url, token: tokens.classify },
    operate: { url, token: tokens.operate },
    stop: () => miniflare.dispose(),
  };
}

/** Starts two workers that serve the same release, one with the guard and one without it, for as long as `work` takes. */
export async function withTwins<T>(
  served: Served,
  work: (guarded: Endpoint, unguarded: Endpoint) => Promise<T>,
): Promise<T> {
  const { tokens, variables } = newSecrets(served.publicKey);
  const twins = await startTwins(
    served.bundle,
    ['on', 'off'].map((GUARD) => ({ ...variables, GUARD })),
  );
  try {
    for (const twin of twins) await publish(twin, served.release, tokens);
    const [guarded, unguarded] = twins.map(({ url }) => ({ url, token: tokens.classify }));
    return await work(guarded!, unguarded!);
  } finally {
    await twins[0]!.miniflare.dispose();
  }
}

async function publish({ url }: LocalWorker, release: string, tokens: Tokens): Promise<void> {
  accept(await publishRelease(release, { url: url.href, token: tokens.publish, activate: true }));
}

/** Fresh tokens, and the variables of a worker that knows them and trusts one key (SPKI, DER). */
export function newSecrets(publicKey: Uint8Array): { tokens: Tokens; variables: Variables } {
  const made = ROLES.map((role) => ({ role, ...createToken() }));
  return {
    tokens: Object.fromEntries(made.map(({ role, token }) => [role, token])) as Tokens,
    variables: {
      ...Object.fromEntries(made.map(({ role, sha256 }) => [`${role.toUpperCase()}_TOKEN_SHA256`, sha256])),
      RELEASE_PUBLIC_KEYS: Buffer.from(publicKey).toString('base64'),
    },
  };
}
