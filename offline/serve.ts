/** Serves the worker on this machine: the bundle that ships, in real workerd, with real R2 and objects, as wrangler.toml binds them. */
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Miniflare, Request, Response, V4MiniflareOptions } from 'miniflare';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const HOST = '127.0.0.1';
const CONFIGURATION = join(ROOT, 'wrangler.toml');
/** Which environment of wrangler.toml is tried here. */
const ENVIRONMENT = 'production';
const WRANGLER = fileURLToPath(new URL('bin/wrangler.js', import.meta.resolve('wrangler/package.json')));
/** A rate limit that lets everything through: the local one writes to the disk for each request, Cloudflare's counts in memory. */
const UNLIMITED = {
  name: 'unlimited',
  compatibilityDate: '2026-07-01',
  modules: [
    {
      type: 'ESModule',
      path: 'unlimited.js',
      contents: `import { WorkerEntrypoint } from 'cloudflare:workers';
        export class Unlimited extends WorkerEntrypoint { limit() { return { success: true }; } }
        export default {};`,
    },
  ],
};

type Module = { type: 'ESModule' | 'CompiledWasm' | 'Text'; path: string; contents: Uint8Array<ArrayBuffer> | string };
export type Bundle = readonly Module[];

/** What `wrangler deploy` would upload. */
export async function bundleWorker(): Promise<Bundle> {
  const folder = await mkdtemp(join(tmpdir(), 'trigger-guard-bundle-'));
  try {
    const command = [
      WRANGLER,
      'deploy',
      '--dry-run',
      '--config',
      CONFIGURATION,
      '--env',
      ENVIRONMENT,
      '--outdir',
      folder,
    ];
    const env = { ...process.env, WRANGLER_SEND_METRICS: 'false' };
    await promisify(execFile)(process.execPath, command, { cwd: ROOT, env });
    const modules: Module[] = [
      { type: 'ESModule', path: 'index.js', contents: await readFile(join(folder, 'index.js'), 'utf8') },
    ];
    for (const path of await readdir(folder)) {
      const file = join(folder, path);
      if (path.endsWith('.wasm')) {
        modules.push({ type: 'CompiledWasm', path, contents: new Uint8Array(await readFile(file)) });
      }
      if (/\.(mjs|css)$/.test(path)) modules.push({ type: 'Text', path, contents: await readFile(file, 'utf8') });
    }
    return modules;
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** A running worker; `miniflare.dispose()` stops it. */
export type LocalWorker = { url: URL; miniflare: Miniflare };

/** Variables and secrets of a worker, on top of those of wrangler.toml. */
export type Variables = Readonly<Record<string, string>>;

export type Serving = {
  variables: Variables;
  /** Where R2 and the objects are kept; without it they end with the worker. */
  folder?: string;
  /** Without it any free port is taken. */
  port?: number;
  /** Hears every line that the worker logs. */
  onLog?: (message: string) => void;
  /** Objects and rate limits that are not bound, to try what happens without them. */
  omitted?: readonly string[];
  /** Rate limits that count here; the others, which wrangler.toml sets for the Internet, let everything through. */
  requestsPerMinute?: Readonly<Record<string, number>>;
  /** Answers whatever the worker asks of the Internet; without it the requests go out. */
  outbound?: (request: Request) => Response | Promise<Response>;
};

/** Starts a worker on 127.0.0.1. It stops with the process, which ends at once on an interrupt while a worker runs. */
export async function startWorker(bundle: Bundle, serving: Serving): Promise<LocalWorker> {
  const { variables, folder, port = 0, onLog, omitted = [], requestsPerMinute = {}, outbound } = serving;
  const { durableObjects, ratelimits, ...options } = await workerOptions(bundle, variables, requestsPerMinute);
  const bound = (bindings: object): object =>
    Object.fromEntries(Object.entries(bindings).filter(([name]) => !omitted.includes(name)));
  const worker = {
    ...options,
    durableObjects: bound(durableObjects),
    ratelimits: bound(ratelimits),
    serviceBindings: bound(options.serviceBindings),
    ...(outbound && { outboundService: outbound }),
  };
  const miniflare = await start({
    workers: [worker, UNLIMITED],
    port,
    resourcePersistencePath: folder,
    handleStructuredLogs: ({ message }: { message: string }) => onLog?.(message),
  });
  return { url: await miniflare.ready, miniflare };
}

/**
 * Starts one worker for each set of variables, all in one process: whatever slows one of them slows the others too, so that
 * their times can be compared. They share one R2; with `sharedObjects` also the objects of the first, as isolates of one deployment do.
 */
export async function startTwins(
  bundle: Bundle,
  twins: readonly Variables[],
  { sharedObjects = false }: { sharedObjects?: boolean } = {},
): Promise<LocalWorker[]> {
  const workers = [];
  for (const [index, variables] of twins.entries()) {
    const { durableObjects, ...options } = await workerOptions(bundle, variables);
    const own = index === 0 || !sharedObjects;
    const objects = Object.entries(durableObjects as Record<string, object>).map(
      ([name, binding]): [string, object] => {
        return [name, own ? binding : { ...binding, scriptName: 'twin-0' }];
      },
    );
    const sockets = [{ host: HOST, port: 0 }];
    workers.push({
      ...options,
      durableObjects: Object.fromEntries<object>(objects),
      name: `twin-${index}`,
      unsafeDirectSockets: sockets,
    });
  }
  const miniflare = await start({ workers: [...workers, UNLIMITED], handleStructuredLogs: () => undefined });
  await miniflare.ready;
  return Promise.all(workers.map(async ({ name }) => ({ url: await miniflare.unsafeGetDirectURL(name), miniflare })));
}

async function workerOptions(
  bundle: Bundle,
  variables: Variables,
  requestsPerMinute: Readonly<Record<string, number>> = {},
) {
  // It takes a second to load, which only those who serve should wait for.
  const { unstable_getMiniflareWorkerOptions } = await import('wrangler');
  const { workerOptions: options } = unstable_getMiniflareWorkerOptions(CONFIGURATION, ENVIRONMENT);
  const bindings = { ...(options.bindings as Record<string, string>), ...variables };
  const limits = Object.entries(options.ratelimits ?? {});
  const counted = limits.flatMap(([name, binding]) => {
    const limit = requestsPerMinute[name];
    return limit === undefined ? [] : [[name, { ...binding, simple: { limit, period: 60 } }] as const];
  });
  const uncounted = limits.filter(([name]) => requestsPerMinute[name] === undefined);
  return {
    ...options,
    durableObjects: options.durableObjects ?? {},
    ratelimits: Object.fromEntries(counted),
    serviceBindings: Object.fromEntries(
      uncounted.map(([name]) => [name, { name: UNLIMITED.name, entrypoint: 'Unlimited' }]),
    ),
    modules: [...bundle],
    bindings,
  };
}

async function start(options: object): Promise<Miniflare> {
  const { convertV4MiniflareOptions, Miniflare } = await import('miniflare');
  return new Miniflare(convertV4MiniflareOptions({ host: HOST, ...options } as V4MiniflareOptions));
}
