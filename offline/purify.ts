/** Purifying: scan, climb the staircase, choose the cut, unlearn the backdoors, calibrate the guard, judge the gate. */
import { toDevice } from '../src/network/forward.ts';
import { attackSuccessRate, cleanAccuracy, estimateRate, perLabelRecall } from '../src/metrics.ts';
import type { HostWeights } from '../src/network/safetensors.ts';
import { judgeGate, type FreshRecovery } from '../src/release/gate.ts';
import type { Guard } from '../src/release/guard.ts';
import type { Manifest, Source } from '../src/release/manifest.ts';
import { headWeightShapes, type ReleaseContent } from '../src/release/release.ts';
import { everyIndex } from './batch.ts';
import { calibrate } from './calibrate.ts';
import { digestDataset, type Dataset } from './data/dataset.ts';
import { digestModel, type Model } from './model.ts';
import { predict } from './predict.ts';
import { CONFIRMED_HIT_RATE } from './recover/pool.ts';
import { measureTriggers, searchLabels, type Measured, type Recovery } from './recover/screening.ts';
import { climbBackdoors, investigate, type Finding, type Scan, type ScanOptions } from './scan.ts';
import { chooseCut, unlearn, type CutInput } from './unlearn/cut.ts';
import type { Moment } from './unlearn/trade-off.ts';

export type PurifyOptions = ScanOptions & {
  unlearn: 'late' | 'ascent';
  falsePositiveRate: number;
  /** Whether a failed gate may still give a release; the manifest says so. */
  force: boolean;
  /** Where the model came from; recorded in the manifest. */
  source: Source;
  now: Date;
};

/** `nothing-found`: no backdoor, the model stays as it is. `gate-failed`: no release may be written. */
export type Purified =
  | { outcome: 'nothing-found'; scan: Scan }
  | { outcome: 'gate-failed'; scan: Scan; failures: string[] }
  | { outcome: 'purified'; scan: Scan; content: ReleaseContent; tradeOff: Moment[] };

type Metrics = Manifest['metrics']['victim'];

/** Added to the seed of the recovery that proves the purified model, so that it starts from other points. */
const FRESH_SEED = 1_000_003;
/** A fresh trigger counts as the old one if it works and is smaller than this many times the victim's smallest of its form. */
const STILL_THERE = 1.5;
const LIFETIME_DAYS = 365;
const DAY_MS = 86_400_000;
const TOOL = 'trigger-guard 0.1.0';

/** Purifies a model with clean images (U8, fitted to the network by `checkDataset`). */
export async function purify(model: Model, images: Dataset, options: PurifyOptions): Promise<Purified> {
  const { progress, seed, engine, force } = options;
  const { scan, victim, recovery } = await investigate(model, images, options);
  const { network } = victim;
  const pools = await climbBackdoors(scan, recovery, progress);
  if (!pools.size) return { outcome: 'nothing-found', scan };

  const cutInput: CutInput = {
    ...recovery,
    pools: [...pools.values()].map((pool) => pool.map(({ trigger }) => trigger)),
  };
  const trial = await progress.stage('unlearn', 'choosing the cut', (report) => chooseCut(cutInput, report));
  const { weights, tradeOff } =
    options.unlearn === 'late'
      ? trial
      : await progress.stage('unlearn', 'gradient ascent on all layers', (report) =>
          unlearn(cutInput, 'ascent', trial.cut, report),
        );
  const { cut } = trial;
  const fresh = await progress.stage('recover', 'once more, with a new seed', (report) =>
    searchLabels({ ...recovery, weights, seed: seed + FRESH_SEED }, [...pools.keys()], report),
  );
  const guard = await progress.stage('calibrate', `probe behind ${cut}`, () =>
    makeGuard(recovery, weights, cut, images, pools, options.falsePositiveRate),
  );
  const metrics = {
    victim: await measure(recovery, victim.weights, pools),
    purified: await measure(recovery, weights, pools),
  };
  const gate = judgeGate(metrics.victim, metrics.purified, freshEvidence(pools, fresh));
  if (!gate.passed && !force) return { outcome: 'gate-failed', scan, failures: gate.failures };
  const manifest: Manifest = {
    schemaVersion: 1,
    network,
    cut,
    metrics,
    gate: { ...gate, forced: !gate.passed },
    provenance: {
      tool: TOOL,
      engine: engine.kind,
      seed,
      source: options.source,
      victimDigest: digestModel(model),
      cleanDataDigest: digestDataset(images),
    },
    createdAt: options.now.toISOString(),
    expiresAt: new Date(options.now.getTime() + LIFETIME_DAYS * DAY_MS).toISOString(),
  };
  const head = headWeightShapes(network, cut);
  const victimHead: HostWeights = new Map([...victim.weights].filter(([name]) => head.has(name)));
  const findings = scan.findings.map((finding): Finding => {
    return { ...finding, pool: pools.get(finding.targetLabel) ?? finding.pool };
  });
  return {
    outcome: 'purified',
    scan: { ...scan, findings },
    content: { manifest, weights, victimHead, guard },
    tradeOff,
  };
}

/** Whether a fresh recovery found the old trigger again, label by label. */
function freshEvidence(pools: ReadonlyMap<number, readonly Measured[]>, fresh: readonly Measured[]): FreshRecovery[] {
  return [...pools].map(([targetLabel, pool]) => {
    const sentences = ['blend', 'additive'].flatMap((kind) => {
      const least = (from: readonly Measured[]): Measured | undefined =>
        from
          .filter(({ trigger, hitRate }) => {
            return trigger.kind === kind && trigger.targetLabel === targetLabel && hitRate >= CONFIRMED_HIT_RATE;
          })
          .reduce<Measured | undefined>((best, item) => (best && best.norm <= item.norm ? best : item), undefined);
      const [before, after] = [least(pool), least(fresh)];
      if (!before || !after || after.norm >= STILL_THERE * before.norm) return [];
      const rate = `${(100 * after.hitRate).toFixed(0)} %`;
      return [`${kind} of norm ${after.norm.toFixed(1)} works on ${rate} (the victim's: ${before.norm.toFixed(1)})`];
    });
    return { targetLabel, found: sentences.length > 0, evidence: sentences.join('; ') || 'nothing as small' };
  });
}

/** Clean accuracy, success of the recovered triggers and recall of their labels on held-back images. */
async function measure(
  { network, split }: Recovery,
  host: HostWeights,
  pools: ReadonlyMap<number, readonly Measured[]>,
): Promise<Metrics> {
  const { heldBack } = split;
  const weights = toDevice(host);
  const indices = everyIndex(heldBack.count);
  const predicted = await predict(network, weights, heldBack, indices);
  let hits = 0;
  let total = 0;
  for (const { trigger } of [...pools.values()].flat()) {
    const answers = await predict(network, weights, heldBack, indices, trigger);
    const { rate, sampleSize } = attackSuccessRate(answers, heldBack.labels, trigger.targetLabel);
    hits += Math.round(rate * sampleSize);
    total += sampleSize;
  }
  weights.forEach((tensor) => tensor.dispose());
  const recalls = perLabelRecall(predicted, heldBack.labels, network.labelNames.length);
  return {
    cleanAccuracy: cleanAccuracy(predicted, heldBack.labels),
    recoveredAttackSuccessRate: estimateRate(hits, total),
    targetRecall: [...pools.keys()].map((label) => ({ label, recall: recalls[label] ?? estimateRate(0, 0) })),
  };
}

async function makeGuard(
  { network, seed, weights: victimWeights, split }: Recovery,
  weights: HostWeights,
  cut: string,
  images: Dataset,
  pools: ReadonlyMap<number, readonly Measured[]>,
  falsePositiveRate: number,
): Promise<Guard> {
  const triggers = [...pools.values()].map((pool) => pool.map(({ trigger }) => trigger));
  const input = { network, weights, cut, images, pools: triggers, falsePositiveRate, seed };
  const { probes, scores, threshold, falsePositiveBound } = await calibrate(input);
  const shown = triggers.map((pool) => pool[0]!);
  const before = await measureTriggers(network, victimWeights, split.heldBack, shown);
  const after = await measureTriggers(network, weights, split.heldBack, shown);
  const features = probes[0]!.weights.length;
  const count = probes.length;
  return {
    fingerprint: {
      schemaVersion: 1,
      falsePositiveRate,
      threshold,
      falsePositiveBound,
      triggers: shown.map(({ kind, targetLabel }, index) => {
        const rates = { victimHitRate: before[index]!.hitRate, purifiedHitRate: after[index]!.hitRate };
        return { id: `label-${targetLabel}`, kind, targetLabel, ...rates };
      }),
    },
    triggers: shown,
    probeWeights: Float32Array.from({ length: features * count }, (_, index) => {
      return probes[index % count]!.weights[Math.floor(index / count)]!;
    }),
    probeBias: Float32Array.from(probes, ({ bias }) => bias),
    calibration: scores,
  };
}
