/** `npm run bench -- edge --minutes N`: the bundle that ships under load in workerd, while releases change and things are killed. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import * as z from 'zod';
import { alertsResponse } from '../../../src/api/alerts.ts';
import { healthResponse } from '../../../src/api/rollout.ts';
import { flag, parseFlags, wholeNumber } from '../../commands/flags.ts';
import { accept, EXIT, print } from '../../commands/outcome.ts';
import { say } from '../../commands/setup.ts';
import { newSecrets, withTwins } from '../../demo/edge.ts';
import { loadExample, type Example } from '../../demo/example.ts';
import { measureGuardCost, pngOf } from '../../demo/http.ts';
import { openWasm } from '../../engine/wasm.ts';
import { createKey } from '../../keys.ts';
import { publishRelease } from '../../publish.ts';
import { writeRelease } from '../../release.ts';
import { bundleWorker, startWorker } from '../../serve.ts';
import { evictObjects, killWorker, publishNext, type Stage } from './disturb.ts';
import { startLoad, type Load } from './load.ts';
import { residentMegabytes, workerdProcess, type Sample } from './memory.ts';
import { makeContent } from './release.ts';
import { asText, judge, type Measured } from './report.ts';
import { planRequests } from './requests.ts';

const schema = z.object({ minutes: wholeNumber(1, 24 * 60), json: flag });
const SAMPLE_MS = 2000;
const COLD_STARTS = 5;
const WARM_REQUESTS = 100;

/** Adds the bench of the edge. */
export function addEdgeBench(program: Command): void {
  program
    .command('edge')
    .description(
      'load on the worker: clean, triggered and broken requests at saturation, publications and kills; Linux',
    )
    .requiredOption(
      '--minutes <N>',
      'how long; things are killed in the first quarter, memory is judged in the last two thirds',
    )
    .option('--json', 'print one JSON document')
    .action(runBench);
}

async function runBench(options: unknown): Promise<void> {
  const { minutes, json } = parseFlags(schema, options);
  const folder = await mkdtemp(join(tmpdir(), 'trigger-guard-bench-'));
  try {
    const measured = await measure(minutes, folder);
    const bars = judge(measured);
    print(json, { ...measured, bars }, () => asText(measured, bars));
    if (!bars.every(({ holds }) => holds)) process.exitCode = EXIT.gateFailed;
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function measure(minutes: number, folder: string): Promise<Measured> {
  const example = await loadExample();
  const { stage, classifyToken, release, publicKey } = await setUp(example, folder);
  try {
    const load = startLoad(stage.worker.url, planRequests(example, classifyToken));
    const { samples, judgedFromMs } = await disturb(stage, load, minutes * 60_000);
    await load.stop();
    // Alerts and counts are stored behind the answers.
    await sleep(5000);
    const { alertsStored, requestsCounted } = await readCounts(stage);
    const { latenciesMs, unexpected, releases, ...tally } = load.tally;
    say('cold starts');
    const { coldMs, warmMs } = await measureColdStart(stage, example, classifyToken);
    say('guarded and unguarded in turns');
    await stage.worker.miniflare.dispose();
    const guardCost = await withTwins({ bundle: stage.bundle, release, publicKey }, (guarded, unguarded) =>
      measureGuardCost(guarded, unguarded, example.test, () => undefined),
    );
    return {
      minutes,
      ...tally,
      unexpected: Object.fromEntries(unexpected),
      published: stage.published,
      releasesThatAnswered: releases.size,
      latenciesMs: latenciesMs.toSorted((a, b) => a - b),
      alertsStored,
      requestsCounted,
      memory: samples,
      judgedMemory: samples.filter(({ atMs }) => atMs >= judgedFromMs),
      coldMs,
      warmMs,
      guardCost,
    };
  } finally {
    await stage.worker.miniflare.dispose();
  }
}

async function setUp(example: Example, folder: string) {
  say('a release for the example, and the bundle');
  accept(await openWasm());
  const content = await makeContent(example);
  const key = accept(await createKey(join(folder, 'key.pem')));
  const release = join(folder, 'release');
  accept(await writeRelease(release, content, key));
  const bundle = await bundleWorker();
  const { tokens, variables } = newSecrets(key.publicKey);
  const kept = { variables, folder: join(folder, 'edge') };
  const worker = await startWorker(bundle, kept);
  const serving = { ...kept, port: Number(worker.url.port) };
  accept(await publishRelease(release, { url: worker.url.href, token: tokens.publish, activate: true }));
  const stage: Stage = { bundle, serving, worker, content, key, tokens, published: 0 };
  return { stage, classifyToken: tokens.classify, release, publicKey: key.publicKey };
}

/** Disturbs the load for a while: the process is killed in the first quarter only, so that it is warm when its memory begins to be judged. */
async function disturb(stage: Stage, load: Load, durationMs: number) {
  const began = performance.now();
  const elapsed = (): number => performance.now() - began;
  const everyMs = Math.min(20_000, durationMs / 12);
  const judgedFromMs = durationMs / 3;
  const samples: Sample[] = [];
  let nextEventMs = everyMs;
  let turn = 0;
  while (elapsed() < durationMs) {
    await sleep(SAMPLE_MS);
    samples.push({ atMs: elapsed(), megabytes: await residentMegabytes(await workerdProcess()) });
    if (elapsed() < nextEventMs) continue;
    nextEventMs += everyMs;
    turn += 1;
    const kill = elapsed() < durationMs / 4 && turn % 3 === 0;
    const what = kill
      ? await killWorker(stage, load)
      : await (turn % 3 === 1 ? publishNext(stage) : evictObjects(stage));
    const { sent, classified } = load.tally;
    say(`${(elapsed() / 1000).toFixed(0)} s  ${what}; ${sent} sent, ${classified} classified`);
  }
  return { samples, judgedFromMs };
}

async function readCounts({ worker, tokens }: Stage): Promise<{ alertsStored: number; requestsCounted: number }> {
  const get = async (path: string): Promise<unknown> => {
    const headers = { authorization: `Bearer ${tokens.operate}` };
    return (await fetch(new URL(path, worker.url), { headers })).json();
  };
  let alertsStored = 0;
  let cursor: number | null = null;
  do {
    const page: z.infer<typeof alertsResponse> = alertsResponse.parse(
      await get(`/v1/alerts?limit=200${cursor === null ? '' : `&cursor=${cursor}`}`),
    );
    for (const { alert, count } of page.alerts) if (alert.kind === 'trigger-match') alertsStored += count;
    cursor = page.cursor;
  } while (cursor !== null);
  const { releases } = healthResponse.parse(await get('/v1/health'));
  return { alertsStored, requestsCounted: releases.reduce((sum, { totals }) => sum + totals.requests, 0) };
}

/** Starts the worker anew and asks it at once; the median of some starts, and of requests after them. */
async function measureColdStart(stage: Stage, example: Example, token: string) {
  const body = pngOf(example.test, 0);
  const ask = async (): Promise<number> => {
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'image/png' };
    const began = performance.now();
    const response = await fetch(new URL('/v1/classify', stage.worker.url), { method: 'POST', headers, body });
    if (!response.ok) throw new Error(`a cold worker answered ${response.status}: ${await response.text()}`);
    await response.arrayBuffer();
    return performance.now() - began;
  };
  const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1]!;
  const cold: number[] = [];
  const warm: number[] = [];
  for (let start = 0; start < COLD_STARTS; start += 1) {
    await stage.worker.miniflare.dispose();
    stage.worker = await startWorker(stage.bundle, stage.serving);
    await fetch(new URL('/healthz', stage.worker.url));
    cold.push(await ask());
    for (let request = 0; request < WARM_REQUESTS; request += 1) warm.push(await ask());
  }
  return { coldMs: median(cold), warmMs: median(warm) };
}
