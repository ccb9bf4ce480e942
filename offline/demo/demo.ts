/** The demo: from the example's backdoored victim to a guarded endpoint on this machine, with every figure on the way. */
import { rmSync } from 'node:fs';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ReleaseContent } from '../../src/release/release.ts';
import { accept, EXIT, Stop } from '../commands/outcome.ts';
import type { Engine } from '../engine/engine.ts';
import { evaluate, guardedBy, type Evaluation } from '../evaluate.ts';
import { loadOrCreateKey } from '../keys.ts';
import { digestModel } from '../model.ts';
import type { Progress } from '../progress.ts';
import { purify } from '../purify.ts';
import { writeRelease } from '../release.ts';
import { releaseJson } from '../report/purified.ts';
import { formatScan, scanJson } from '../report/scanned.ts';
import { scan } from '../scan.ts';
import { bundleWorker, type Bundle } from '../serve.ts';
import { askOverHttp } from './ask.ts';
import { judgeBars, type Bar } from './bars.ts';
import { startEdge, withTwins, type Edge } from './edge.ts';
import { loadExample, type Example } from './example.ts';
import { measureGuardCost, pngOf } from './http.ts';
import { barsStory, beforeAndAfter, cleanModelStory, costStory, httpStory } from './story.ts';

const FALSE_POSITIVE_RATE = 0.005;

export type DemoOptions = {
  engine: Engine;
  seed: number;
  port: number;
  progress: Progress;
  /** Hears the story, a chapter at a time. */
  tell: (text: string) => void;
};

export type Demo = {
  bars: Bar[];
  /** All other figures, as they go into JSON. */
  figures: Record<string, unknown>;
  /** What still serves, and a triggered image to try it with until the process ends. */
  edge: Edge;
  sample: string;
};

const secondsSince = (began: number): number => (performance.now() - began) / 1000;

/** Runs the whole story once and leaves the guarded worker serving. */
export async function runDemo(options: DemoOptions): Promise<Demo> {
  const { engine, seed, tell } = options;
  const began = performance.now();
  const folder = await mkdtemp(join(tmpdir(), 'trigger-guard-demo-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  const bundling = bundleWorker();
  // Whoever awaits it below hears of its failure; until then it must not end the process.
  bundling.catch(() => undefined);
  const example = await loadExample();
  const { labelNames } = example.victim.network;

  tell(`\n1. Purify a Fashion-MNIST classifier that hides a backdoor, with ${example.clean.count} clean images\n`);
  const { found, content, purifySeconds } = await purifyVictim(example, options);

  tell(`\n2. Before and after, on ${example.test.count} other images, with 95 % intervals\n`);
  const measured = await measure(example, content, options);

  tell('\n3. Serve the release from a worker on this machine, and ask it over HTTP\n');
  const { edge, ...served } = await serve(example, content, folder, await bundling, options);

  tell('\n4. Scan three clean models of the same make\n');
  const cleanModels = await scanCleanModels(example, options);

  const { victim, purified } = measured;
  const demoSeconds = secondsSince(began);
  const recall = ({ perLabelRecall }: Evaluation): number => perLabelRecall[example.targetLabel]!;
  const bars = judgeBars({
    victim: { cleanAccuracy: victim.cleanAccuracy, targetRecall: recall(victim) },
    purified: {
      cleanAccuracy: purified.cleanAccuracy,
      targetRecall: recall(purified),
      attackSuccessRate: purified.attackSuccessRate!,
    },
    guard: {
      falsePositiveRate: purified.guard!.falsePositiveRate,
      truePositiveRate: purified.guard!.truePositiveRate!,
    },
    http: served.http,
    guardCost: served.guardCost,
    purifySeconds,
    demoSeconds,
    cleanModels,
  });
  tell(`\n5. The bars\n\n${barsStory(bars)}`);
  const release = releaseJson(content);
  const run = { seed, engine: `${engine.kind} on ${engine.device}`, purifySeconds, demoSeconds };
  const models = cleanModels.map(({ name, found, leftAsItWas }) => {
    return { name, leftAsItWas, ...scanJson(found, labelNames) };
  });
  const figures = { ...run, ...measured, ...served, release, scan: scanJson(found, labelNames), cleanModels: models };
  const sample = join(folder, 'triggered.png');
  const index = example.triggered.labels.findIndex((label) => label !== example.targetLabel);
  await writeFile(sample, pngOf(example.triggered, index));
  return { bars, figures, edge, sample };
}

async function purifyVictim({ victim, clean }: Example, { engine, seed, progress, tell }: DemoOptions) {
  const began = performance.now();
  const source = { format: 'network', digest: digestModel(victim), input: null } as const;
  const how = {
    unlearn: 'late',
    harden: false,
    falsePositiveRate: FALSE_POSITIVE_RATE,
    force: false,
    source,
    now: new Date(),
  } as const;
  const purified = await purify(victim, clean, { engine, seed, progress, ...how });
  const purifySeconds = secondsSince(began);
  tell(formatScan(purified.scan, victim.network.labelNames));
  if (purified.outcome !== 'purified') {
    const reasons = purified.outcome === 'gate-failed' ? purified.failures.join('; ') : 'no backdoor was found';
    throw new Stop(`the victim of the example was not purified: ${reasons}`, EXIT.gateFailed);
  }
  return { found: purified.scan, content: purified.content, purifySeconds };
}

/** The true trigger is used here, to evaluate, and nowhere else. */
async function measure(
  { victim, test, triggered, targetLabel }: Example,
  content: ReleaseContent,
  { progress, tell }: DemoOptions,
): Promise<{ victim: Evaluation; purified: Evaluation }> {
  const { manifest, weights } = content;
  const subject = { network: manifest.network, weights, guarded: guardedBy(content) };
  const what = `${test.count} clean and ${triggered.count} triggered test images`;
  const measured = await progress.stage('evaluate', what, async () => ({
    victim: await evaluate(victim, test, { images: triggered, targetLabel }),
    purified: await evaluate(subject, test, { images: triggered, targetLabel }),
  }));
  tell(beforeAndAfter(measured.victim, measured.purified, targetLabel, content));
  return measured;
}

async function serve(
  example: Example,
  content: ReleaseContent,
  folder: string,
  bundle: Bundle,
  { progress, port, tell }: DemoOptions,
) {
  const release = join(folder, 'release');
  const { digest, served, edge } = await progress.stage('serve', 'sign, publish, activate', async () => {
    const key = accept(await loadOrCreateKey(join(folder, 'key.pem')));
    const { digest } = accept(await writeRelease(release, content, key));
    const served = { bundle, release, publicKey: key.publicKey };
    return { digest, served, edge: await startEdge(served, folder, port) };
  });
  const http = await progress.stage('classify', 'test images over HTTP', (report) =>
    askOverHttp(edge, example, content, report),
  );
  const { labelNames } = example.victim.network;
  tell(httpStory(http, labelNames[example.targetLabel]!, labelNames));
  const guardCost = await progress.stage('measure', 'what the guard costs', (report) =>
    withTwins(served, (guarded, unguarded) => measureGuardCost(guarded, unguarded, example.test, report)),
  );
  tell(`\n${costStory(guardCost)}`);
  return { edge, digest, http, guardCost };
}

async function scanCleanModels({ cleanModels, clean }: Example, { engine, seed, progress, tell }: DemoOptions) {
  const scanned = [];
  for (const { name, model } of cleanModels) {
    const before = digestModel(model);
    const found = await scan(model, clean, { engine, seed, progress });
    tell(cleanModelStory(name, found, model.network.labelNames));
    scanned.push({ name, found, findings: found.findings, leftAsItWas: digestModel(model) === before });
  }
  return scanned;
}
