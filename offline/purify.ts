/** Purifying: scan, climb the staircase, choose the cut, unlearn the backdoors, calibrate the guard, judge the gate. */
import { headWeights } from '../src/network/cuts.ts';
import { cleanMetrics, estimateRate, type CleanMetrics } from '../src/metrics.ts';
import type { HostWeights } from '../src/network/safetensors.ts';
import { judgeCost, judgeGate, strongestHit } from '../src/release/gate.ts';
import type { Guard } from '../src/release/guard.ts';
import type { Manifest, Source } from '../src/release/manifest.ts';
import type { ReleaseContent } from '../src/release/release.ts';
import { calibrate } from './calibrate.ts';
import { digestDataset, type Dataset } from './data/dataset.ts';
import { digestModel, type Model } from './model.ts';
import { answersOf } from './predict.ts';
import { measuringImages, type Measured } from './recover/measure.ts';
import type { Recovery } from './recover/screening.ts';
import { recoverTriggers } from './recovered.ts';
import {
  investigate,
  isBackdoor,
  summarize,
  type Finding,
  type LabelScreening,
  type Scan,
  type ScanOptions,
} from './scan.ts';
import { withGrown, type CutInput } from './unlearn/cut.ts';
import { unlearnInRounds } from './unlearn/rounds.ts';
import type { Moment } from './unlearn/trade-off.ts';

export type PurifyOptions = ScanOptions & {
  unlearn: 'late' | 'ascent';
  /** Whether natural shortcuts are unlearned and watched for as well. */
  harden: boolean;
  falsePositiveRate: number;
  /** Whether a failed gate may still give a release; the manifest says so. */
  force: boolean;
  /** Where the model came from; recorded in the manifest. */
  source: Source;
  now: Date;
};

/**
 * `screenings` of a purified model are those with a new seed; those of the victim are in `scan`. `nothing-found`: nothing to unlearn, the model stays as it is. `gate-failed`: no release may be written; `isCostly` where what unlearning costs is a reason.
 */
export type Purified =
  | { outcome: 'nothing-found'; scan: Scan }
  | { outcome: 'gate-failed'; scan: Scan; failures: string[]; isCostly: boolean }
  | { outcome: 'purified'; scan: Scan; content: ReleaseContent; tradeOff: Moment[]; screenings: LabelScreening[] };

type Metrics = Manifest['metrics']['victim'];

const LIFETIME_DAYS = 365;
const DAY_MS = 86_400_000;
/** What a manifest says that it was made with. */
export const TOOL = 'trigger-guard 0.1.0';

/** Purifies a model with clean images (U8, fitted to the network by `checkDataset`). */
export async function purify(model: Model, images: Dataset, options: PurifyOptions): Promise<Purified> {
  const { progress, seed, engine, force, harden } = options;
  const { scan, victim, recovery } = await investigate(model, images, options);
  const { network } = victim;
  const unlearned = harden ? scan.findings : scan.findings.filter(isBackdoor);
  if (!unlearned.length) return { outcome: 'nothing-found', scan };

  const recovered = await recoverTriggers(recovery, scan, unlearned, progress);
  const { measured: pools, input } = recovered;
  const forgotten = await unlearnInRounds(recovered, scan.screenings, options.unlearn, progress);
  const { cut, weights, tradeOff, hitRates, fresh, found } = forgotten;
  const before = [...pools.values()].flat();
  const after = before.map((item, index) => ({ ...item, hitRate: hitRates[index]![item.trigger.targetLabel]! }));
  const victimHead = headWeights(network, victim.weights, cut);
  // Ascent has moved the trunk; the guard sees that one.
  const watched = { ...input, weights: new Map([...weights, ...victimHead]) };
  const guard = await progress.stage('calibrate', `probe behind ${cut}`, () =>
    makeGuard(watched, cut, images, pools, after, options.falsePositiveRate),
  );
  const targets = [...pools.keys()];
  const was = await heldBackMetrics(recovery, victim.weights, targets);
  const is = await heldBackMetrics(recovery, weights, targets);
  const gate = judgeGate(was, is, strongestHit(hitRates), found);
  if (!gate.passed && !force) {
    return { outcome: 'gate-failed', scan, failures: gate.failures, isCostly: judgeCost(was, is).length > 0 };
  }
  const metrics = { victim: metricsOf(was, recovery, before), purified: metricsOf(is, recovery, after) };
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
  const findings = scan.findings.map((finding): Finding => {
    return { ...finding, pool: pools.get(finding.targetLabel) ?? finding.pool };
  });
  return {
    outcome: 'purified',
    scan: { ...scan, findings },
    content: { manifest, weights, victimHead, guard },
    tradeOff,
    screenings: fresh.map(summarize),
  };
}

/** What held-back images say of some weights. */
async function heldBackMetrics(
  { network, split: { heldBack } }: Recovery,
  weights: HostWeights,
  targets: readonly number[],
): Promise<CleanMetrics> {
  return cleanMetrics(await answersOf(network, weights, heldBack), heldBack.labels, targets);
}

/** What a manifest says of a model: its metrics on clean images, and how often the recovered triggers work. */
function metricsOf(
  { cleanAccuracy, targets }: CleanMetrics,
  { split: { heldBack } }: Recovery,
  triggers: readonly Measured[],
): Metrics {
  const { labels } = measuringImages(heldBack);
  const tries = triggers.map(({ trigger, hitRate }) => {
    const count = labels.filter((label) => label !== trigger.targetLabel).length;
    return { count, hits: Math.round(hitRate * count) };
  });
  const total = (of: 'count' | 'hits'): number => tries.reduce((sum, item) => sum + item[of], 0);
  return {
    cleanAccuracy,
    recoveredAttackSuccessRate: estimateRate(total('hits'), total('count')),
    targetRecall: targets.map(({ label, recall }) => ({ label, recall })),
  };
}

/** What the guard is made from: the trunk that it watches, and the triggers that it watches for. */
type GuardInput = Pick<CutInput, 'network' | 'weights' | 'pools' | 'grown' | 'seed'>;

async function makeGuard(
  { network, weights, pools: unlearned, grown, seed }: GuardInput,
  cut: string,
  images: Dataset,
  pools: ReadonlyMap<number, readonly Measured[]>,
  purified: readonly Measured[],
  falsePositiveRate: number,
): Promise<Guard> {
  const input = { network, weights, cut, images, pools: withGrown(unlearned, grown), falsePositiveRate, seed };
  const { probes, scores, threshold, falsePositiveBound } = await calibrate(input);
  const shown = [...pools.values()].map((pool) => pool[0]!);
  const features = probes[0]!.weights.length;
  const count = probes.length;
  return {
    fingerprint: {
      schemaVersion: 1,
      falsePositiveRate,
      threshold,
      falsePositiveBound,
      triggers: shown.map(({ trigger, hitRate }) => {
        const { kind, targetLabel } = trigger;
        const purifiedHitRate = purified.find((item) => item.trigger === trigger)!.hitRate;
        return { id: `label-${targetLabel}`, kind, targetLabel, victimHitRate: hitRate, purifiedHitRate };
      }),
    },
    triggers: shown.map(({ trigger }) => trigger),
    probeWeights: Float32Array.from({ length: features * count }, (_, index) => {
      return probes[index % count]!.weights[Math.floor(index / count)]!;
    }),
    probeBias: Float32Array.from(probes, ({ bias }) => bias),
    calibration: scores,
  };
}
