/** What happens to the worker under load: releases are published and rolled out, objects evicted, and the process killed. */
import { join } from 'node:path';
import type { ReleaseContent } from '../../../src/release/release.ts';
import type { SigningKey } from '../../../src/release/signature.ts';
import { accept } from '../../commands/outcome.ts';
import { publishRelease } from '../../publish.ts';
import { writeRelease } from '../../release.ts';
import { startWorker, type Bundle, type LocalWorker, type Serving } from '../../serve.ts';
import type { Load } from './load.ts';
import { workerdProcess } from './memory.ts';
import { renewed } from './release.ts';

export type Stage = {
  bundle: Bundle;
  serving: Serving & { folder: string; port: number };
  worker: LocalWorker;
  content: ReleaseContent;
  key: SigningKey;
  tokens: { publish: string; operate: string };
  /** Counts the releases that were published. */
  published: number;
};

/** Publishes one more release and makes it serve, or starts its rollout and takes it back, in turns. Answers what it did. */
export async function publishNext(stage: Stage): Promise<string> {
  stage.published += 1;
  const { published, serving, worker, tokens } = stage;
  const directory = join(serving.folder, 'releases', String(published));
  const { digest } = accept(await writeRelease(directory, renewed(stage.content, published), stage.key));
  const activate = published % 2 === 1;
  accept(await publishRelease(directory, { url: worker.url.href, token: tokens.publish, activate }));
  if (activate) return `published and activated ${digest.slice(0, 8)}`;
  await post(stage, '/v1/rollouts', tokens.publish, { digest, reason: 'bench' });
  await new Promise((resolve) => setTimeout(resolve, 3000));
  await post(stage, '/v1/rollouts/operations', tokens.operate, { operation: 'abort', reason: 'bench' });
  return `started and aborted ${digest.slice(0, 8)}`;
}

async function post({ worker }: Stage, path: string, token: string, body: object): Promise<void> {
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  const response = await fetch(new URL(path, worker.url), { method: 'POST', headers, body: JSON.stringify(body) });
  if (!response.ok) throw new Error(`${path} was answered ${response.status}: ${await response.text()}`);
}

const OBJECTS = [
  ['RolloutObject', 'rollout'],
  ['AlertsObject', 'alerts'],
] as const;

/** Ends the objects where they are; the next call starts them from what they stored. */
export async function evictObjects({ worker }: Stage): Promise<string> {
  for (const [className, name] of OBJECTS) await worker.miniflare.unsafeEvictDurableObject('', className, { name });
  return 'evicted the objects';
}

/** Kills the process of the worker in the middle of its work, and starts another on what is stored. */
export async function killWorker(stage: Stage, load: Load): Promise<string> {
  load.killing = true;
  process.kill(await workerdProcess(), 'SIGKILL');
  await stage.worker.miniflare.dispose();
  stage.worker = await startWorker(stage.bundle, stage.serving);
  // Connections that broke may tell so a little later.
  setTimeout(() => (load.killing = false), 2000);
  return 'killed the worker and started it anew';
}
