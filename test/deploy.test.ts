/** What is deployed: every environment of wrangler.toml is whole, and what goes up is small. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { unstable_readConfig } from 'wrangler';
import * as z from 'zod';

const ROOT = join(import.meta.dirname, '..');
const CONFIGURATION = join(ROOT, 'wrangler.toml');
const ENVIRONMENTS = ['production', 'staging'];
const GZIPPED_LIMIT_BYTES = 1.5e6;

const run = promisify(execFile);
const configurationSchema = z.object({
  name: z.string(),
  vars: z.record(z.string(), z.string()),
  r2_buckets: z.array(z.object({ binding: z.string(), bucket_name: z.string() })),
  durable_objects: z.object({ bindings: z.array(z.object({ name: z.string(), class_name: z.string() })) }),
  migrations: z.array(z.object({ tag: z.string(), new_sqlite_classes: z.array(z.string()).optional() })),
  ratelimits: z.array(
    z.object({ name: z.string(), namespace_id: z.string(), simple: z.object({ limit: z.int(), period: z.int() }) }),
  ),
  triggers: z.object({ crons: z.array(z.string()).optional() }),
  limits: z.object({ cpu_ms: z.int() }),
  observability: z.object({ enabled: z.literal(true) }),
  compatibility_date: z.string(),
});
const read = (env?: string) =>
  configurationSchema.parse(unstable_readConfig({ config: CONFIGURATION, ...(env !== undefined && { env }) }));

test.each(ENVIRONMENTS)('%s deploys as it is, and its bundle stays below 1.5 MB gzipped', async (environment) => {
  const wrangler = join(ROOT, 'node_modules/wrangler/bin/wrangler.js');
  const command = [wrangler, 'deploy', '--dry-run', '--config', CONFIGURATION, '--env', environment];
  const env = { ...process.env, WRANGLER_SEND_METRICS: 'false', NO_COLOR: '1' };
  const { stdout } = await run(process.execPath, command, { cwd: ROOT, env });
  const gzippedKib = Number(/gzip: ([\d.]+) KiB/.exec(stdout)?.[1]);
  console.log(`${environment}: ${gzippedKib} KiB gzipped`);
  expect(gzippedKib).toBeGreaterThan(100);
  expect(gzippedKib * 1024).toBeLessThan(GZIPPED_LIMIT_BYTES);
});

test('the environments have the same bindings, triggers and limits, and share no storage and no counter', () => {
  const configurations = ENVIRONMENTS.map(read);
  const shapes = configurations.map((configuration) => {
    const { vars, durable_objects, migrations, triggers, limits, observability, compatibility_date } = configuration;
    return {
      variables: Object.keys(vars).sort(),
      buckets: configuration.r2_buckets.map(({ binding }) => binding),
      rateLimits: configuration.ratelimits.map(({ name, simple }) => [name, simple]),
      durable_objects,
      migrations,
      triggers,
      limits,
      observability,
      compatibility_date,
    };
  });
  expect(shapes[1]).toEqual(shapes[0]);
  const own = configurations.map(({ name, r2_buckets, ratelimits }) => [
    name,
    ...r2_buckets.map(({ bucket_name }) => bucket_name),
    ...ratelimits.map(({ namespace_id }) => namespace_id),
  ]);
  expect(new Set(own.flat()).size).toBe(own.flat().length);
});

test('a rate limit counts the minute that the worker tells clients to wait, and every object is stored in SQLite', () => {
  const { ratelimits, durable_objects, migrations } = read('production');
  expect(ratelimits.map(({ simple }) => simple.period)).toEqual(ratelimits.map(() => 60));
  const stored = migrations.flatMap(({ new_sqlite_classes = [] }) => new_sqlite_classes);
  expect(durable_objects.bindings.map(({ class_name }) => class_name).sort()).toEqual(stored.sort());
});

test('without an environment nothing is bound, so that a bare deploy serves nobody', () => {
  const { r2_buckets, durable_objects, ratelimits, vars } = read();
  expect([r2_buckets, durable_objects.bindings, ratelimits, vars]).toEqual([[], [], [], {}]);
});

test('the guard is on where it is deployed, and callers need a token', () => {
  for (const { vars } of ENVIRONMENTS.map(read)) {
    expect(vars).toMatchObject({ GUARD: 'on', ANONYMOUS_CLASSIFY: 'off' });
  }
});

test('the nightly example is a script that bash understands, and says how it wants to be called', async () => {
  const script = join(ROOT, 'docs/nightly.sh');
  await run('bash', ['-n', script]);
  await expect(run('bash', [script])).rejects.toMatchObject({
    code: 2,
    stderr: 'usage: nightly.sh MODEL CLEAN_IMAGES SIGNING_KEY\n',
  });
});
