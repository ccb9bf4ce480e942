/** Serves the worker on this machine: the bundle that ships, in real workerd, with real R2 and objects, as wrangler.toml binds them. */
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Miniflare, V4MiniflareOptions } from 'miniflare';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const CONFIGURATION = join(ROOT, 'wrangler.toml');
const WRANGLER = fileURLToPath(new URL('bin/wrangler.js', import.meta.resolve('wrangler/package.json')));

type Module = { type: 'ESModule' | 'CompiledWasm'; path: string; contents: Uint8Array<ArrayBuffer> | string };
export type Bundle = readonly Module[];

/** What `wrangler deploy` would upload. */
export async function bundleWorker(): Promise<Bundle> {
  const folder = await mkdtemp(join(tmpdir(), 'trigger-guard-bundle-'));
  try {
    const command = [WRANGLER, 'deploy', '--dry-run', '--config', CONFIGURATION, '--outdir', folder];
    const env = { ...process.env, WRANGLER_SEND_METRICS: 'false' };
    await promisify(execFile)(process.execPath, command, { cwd: ROOT, env });
    const wasm = (await readdir(folder)).filter((name) => name.endsWith('.wasm'));
    return [
      { type: 'ESModule', path: 'index.js', contents: await readFile(join(folder, 'index.js'), 'utf8') },
      ...(await Promise.all(
        wasm.map(async (path) => {
          const contents = new Uint8Array(await readFile(join(folder, path)));
          return { type: 'CompiledWasm', path, contents } as const;
        }),
      )),
    ];
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** A running worker; `miniflare.dispose()` stops it. */
export type LocalWorker = { url: URL; miniflare: Miniflare };

export type Serving = {
  /** Variables and secrets, on top of those of wrangler.toml. */
  variables: Readonly<Record<string, string>>;
  /** Where R2 and the objects are kept; without it they end with the worker. */
  folder?: string;
  /** Without it any free port is taken. */
  port?: number;
  /** Hears every line that the worker logs. */
  onLog?: (message: string) => void;
  /** Objects that are not bound, to try what happens without them. */
  omittedObjects?: readonly string[];
};

/** Starts a worker on 127.0.0.1. It stops with the process, which ends at once on an interrupt while a worker runs. */
export async function startWorker(bundle: Bundle, serving: Serving): Promise<LocalWorker> {
  const { variables, folder, port = 0, onLog, omittedObjects = [] } = serving;
  // Both take a second to load, which only those who serve should wait for.
  const { convertV4MiniflareOptions, Miniflare } = await import('miniflare');
  const { unstable_getMiniflareWorkerOptions } = await import('wrangler');
  const { workerOptions } = unstable_getMiniflareWorkerOptions(CONFIGURATION);
  const objects = Object.entries(workerOptions.durableObjects ?? {});
  const options = {
    ...workerOptions,
    host: '127.0.0.1',
    port,
    modules: [...bundle],
    bindings: { ...(workerOptions.bindings as Record<string, string>), ...variables },
    durableObjects: Object.fromEntries(objects.filter(([name]) => !omittedObjects.includes(name))),
    resourcePersistencePath: folder,
    handleStructuredLogs: ({ message }: { message: string }) => onLog?.(message),
  };
  const miniflare = new Miniflare(convertV4MiniflareOptions(options as V4MiniflareOptions));
  return { url: await miniflare.ready, miniflare };
}
