/** The worker's bundle for tests: what ships, made once for each state of the sources, because making it takes seconds. */
import { createHash } from 'node:crypto';
import { glob, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { deserialize, serialize } from 'node:v8';
import { bundleWorker, type Bundle } from '../../offline/serve.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const KEPT = join(ROOT, 'node_modules', '.cache', 'trigger-guard-bundle');
const SOURCES = ['src/**/*.*', 'workers/**/*.*', 'wrangler.toml', 'package-lock.json', 'offline/serve.ts'];

async function digestOfSources(): Promise<string> {
  const hash = createHash('sha256');
  const files: string[] = [];
  for await (const file of glob(SOURCES, { cwd: ROOT })) files.push(file);
  for (const file of files.toSorted((a, b) => (a < b ? -1 : 1)))
    hash
      .update(`${file}\n`)
      .update(await readFile(join(ROOT, file)))
      .update('\n');
  return hash.digest('hex');
}

/** What `bundleWorker` makes of the sources as they are now. */
export async function shippedBundle(): Promise<Bundle> {
  const file = join(KEPT, await digestOfSources());
  const kept = await readFile(file).catch(() => undefined);
  if (kept) return deserialize(kept) as Bundle;
  const bundle = await bundleWorker();
  await mkdir(KEPT, { recursive: true });
  await writeFile(`${file}.${process.pid}`, serialize(bundle));
  await rename(`${file}.${process.pid}`, file);
  return bundle;
}
