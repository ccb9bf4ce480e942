/** Releases for the load bench: the example's victim as it is, behind a guard for its own trigger. Enough to load a worker with, and never to be used. */
import { headWeights } from '../../../src/network/cuts.ts';
import { foldBatchNorm } from '../../../src/network/fold.ts';
import type { Guard } from '../../../src/release/guard.ts';
import type { ReleaseContent } from '../../../src/release/release.ts';
import type { Trigger } from '../../../src/trigger/trigger.ts';
import { calibrate } from '../../calibrate.ts';
import type { Example } from '../../demo/example.ts';

const CUT = 'stage3-relu';
const RATE = 0.005;
const DAY_MS = 86_400_000;

/** The trigger that the triggered test images carry, read from where they differ from the others. */
function triggerOf({ test, triggered, targetLabel }: Example): Trigger {
  const { height, width, channels } = test;
  const size = height * width * channels;
  const mask = new Float32Array(height * width);
  const pattern = new Float32Array(size);
  for (let at = 0; at < test.images.length; at += 1) {
    if (test.images[at] === triggered.images[at]) continue;
    mask[Math.floor((at % size) / channels)] = 1;
    pattern[at % size] = triggered.images[at]! / 255;
  }
  return { kind: 'blend', targetLabel, height, width, channels, mask, pattern };
}

/** The content of a release of the example's victim, with nothing unlearned. Needs the engine. */
export async function makeContent(example: Example): Promise<ReleaseContent> {
  const { network, weights } = foldBatchNorm(example.victim.network, example.victim.weights);
  const trigger = triggerOf(example);
  const images = example.clean;
  const pools = [[trigger]];
  const fitted = await calibrate({ network, weights, cut: CUT, images, pools, falsePositiveRate: RATE, seed: 1 });
  const { probes, scores, threshold, falsePositiveBound } = fitted;
  const [probe] = probes;
  const { kind, targetLabel } = trigger;
  const shown = { id: `label-${targetLabel}`, kind, targetLabel, victimHitRate: 1, purifiedHitRate: 1 };
  const guard: Guard = {
    fingerprint: { schemaVersion: 1, falsePositiveRate: RATE, threshold, falsePositiveBound, triggers: [shown] },
    triggers: [trigger],
    probeWeights: probe!.weights,
    probeBias: Float32Array.of(probe!.bias),
    calibration: scores,
  };
  const estimate = { rate: 0, low: 0, high: 1, sampleSize: 1 };
  const metrics = {
    cleanAccuracy: estimate,
    recoveredAttackSuccessRate: estimate,
    targetRecall: [{ label: targetLabel, recall: estimate }],
  };
  const manifest = {
    schemaVersion: 1 as const,
    network,
    cut: CUT,
    metrics: { victim: metrics, purified: metrics },
    gate: { passed: false, forced: true, failures: ['made for a load bench: nothing is unlearned'] },
    provenance: {
      tool: 'trigger-guard bench',
      engine: 'wasm',
      seed: 1,
      source: { format: 'network' as const, digest: '0'.repeat(64), input: null },
      victimDigest: '0'.repeat(64),
      cleanDataDigest: '0'.repeat(64),
    },
    createdAt: new Date().toISOString(),
    expiresAt: new Date(Date.now() + DAY_MS).toISOString(),
  };
  return { manifest, weights, victimHead: headWeights(network, weights, CUT), guard };
}

/** The same content as another release: of another second, and so with another digest. */
export function renewed(content: ReleaseContent, seconds: number): ReleaseContent {
  const createdAt = new Date(Date.parse(content.manifest.createdAt) + seconds * 1000).toISOString();
  return { ...content, manifest: { ...content.manifest, createdAt } };
}
