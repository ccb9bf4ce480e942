/** A small release with random weights, valid in every respect but of no use: for tests of what handles releases. Runs in Node and in workerd. */
import { headWeightShapes } from '../../src/network/cuts.ts';
import { weightShapes, type Network, type Shape } from '../../src/network/network.ts';
import type { HostWeights } from '../../src/network/safetensors.ts';
import type { Guard } from '../../src/release/guard.ts';
import { SIGNATURE_FILE, type Manifest } from '../../src/release/manifest.ts';
import { encodeRelease, type ReleaseContent } from '../../src/release/release.ts';
import { releaseDigest, signRelease, type SigningKey } from '../../src/release/signature.ts';
import type { Trigger } from '../../src/trigger/trigger.ts';
import { uniform } from './uniform.ts';

const { subtle } = crypto;

/** Two convolutions and a dense layer on images [8,8,1] with 3 labels. */
export const testNetwork: Network = {
  schemaVersion: 1,
  input: { height: 8, width: 8, channels: 1 },
  labelNames: ['bag', 'boot', 'coat'],
  layers: [
    { type: 'normalize', name: 'scale', inputs: ['images'], mean: [0.5], std: [0.25] },
    convolution('stage1', 'scale', 4),
    { type: 'relu', name: 'stage1/relu', inputs: ['stage1/conv'] },
    convolution('stage2', 'stage1/relu', 6),
    { type: 'relu', name: 'stage2/relu', inputs: ['stage2/conv'] },
    { type: 'globalAveragePool', name: 'pool', inputs: ['stage2/relu'] },
    { type: 'dense', name: 'logits', inputs: ['pool'], units: 3, bias: true },
  ],
  output: 'logits',
};

function convolution(stage: string, input: string, filters: number): Network['layers'][number] {
  const name = `${stage}/conv`;
  const fixed = { kernelSize: [3, 3] as [number, number], dilations: [1, 1] as [number, number], groups: 1 };
  return { type: 'conv2d', name, inputs: [input], filters, ...fixed, strides: [2, 2], padding: 'same', bias: true };
}

/** Random weights in -1..1 of the shapes given. */
export function randomWeights(shapes: ReadonlyMap<string, Shape>, seed: number): HostWeights {
  const random = uniform(seed);
  return new Map(
    [...shapes].map(([name, shape]) => {
      const length = shape.reduce((total, axis) => total * axis, 1);
      return [name, { dtype: 'F32', shape, data: Float32Array.from({ length }, () => 2 * random() - 1) }];
    }),
  );
}

/** The content of a release of `testNetwork` cut behind its first stage, with one trigger of each kind; equal seeds give equal content. */
export function testContent(seed = 1): ReleaseContent {
  const random = uniform(seed + 1000);
  const values = (length: number): Float32Array => Float32Array.from({ length }, random);
  const image = { height: 8, width: 8, channels: 1 };
  const triggers: Trigger[] = [
    { kind: 'blend', targetLabel: 0, ...image, mask: values(64), pattern: values(64) },
    { kind: 'additive', targetLabel: 2, ...image, pattern: values(64) },
  ];
  const rates = { victimHitRate: 1, purifiedHitRate: 0 };
  const guard: Guard = {
    fingerprint: {
      schemaVersion: 1,
      falsePositiveRate: 0.05,
      threshold: 0.95,
      falsePositiveBound: { upper: 0.1, confidence: 0.95, sampleSize: 40 },
      triggers: [
        { id: 'bag-1', kind: 'blend', targetLabel: 0, ...rates },
        { id: 'coat-1', kind: 'additive', targetLabel: 2, ...rates },
      ],
    },
    triggers,
    // Means and maxima of four channels behind the first stage, and the six that the victim's second one pools.
    probeWeights: values((2 * 4 + 6) * 2),
    probeBias: values(2),
    calibration: Float32Array.from({ length: 40 }, (_, index) => index / 40),
  };
  return {
    manifest: testManifest(seed),
    weights: randomWeights(weightShapes(testNetwork), seed),
    victimHead: randomWeights(headWeightShapes(testNetwork, 'stage1/relu'), seed + 1),
    guard,
  };
}

function testManifest(seed: number): Manifest {
  const estimate = { rate: 0.9, low: 0.85, high: 0.95, sampleSize: 200 };
  const metrics = {
    cleanAccuracy: estimate,
    recoveredAttackSuccessRate: estimate,
    targetRecall: [
      { label: 0, recall: estimate },
      { label: 2, recall: estimate },
    ],
  };
  return {
    schemaVersion: 1,
    network: testNetwork,
    cut: 'stage1/relu',
    metrics: { victim: metrics, purified: metrics },
    gate: { passed: true, forced: false, failures: [] },
    provenance: {
      tool: 'trigger-guard test',
      engine: 'none',
      seed,
      source: { format: 'network', digest: 'c'.repeat(64), input: null },
      victimDigest: 'a'.repeat(64),
      cleanDataDigest: 'b'.repeat(64),
    },
    createdAt: '2026-01-01T00:00:00Z',
    expiresAt: '2099-01-01T00:00:00Z',
  };
}

/** A fresh ECDSA P-256 key. */
export async function createKey(): Promise<SigningKey> {
  const pair = await subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify']);
  if (!('privateKey' in pair)) throw new Error('expected a key pair');
  const spki = (await subtle.exportKey('spki', pair.publicKey)) as ArrayBuffer;
  return { privateKey: pair.privateKey, publicKey: new Uint8Array(spki) };
}

/** The five files of a release, signed with `key`, and its digest (64 hex digits). */
export async function signedRelease(
  key: SigningKey,
  content: ReleaseContent = testContent(),
): Promise<{ files: Map<string, Uint8Array>; digest: string }> {
  return signedFiles(encodeRelease(content), key);
}

/** Signs four files whatever they hold, so that a test can tell what a valid signature does not excuse. */
export async function signedFiles(
  unsigned: ReadonlyMap<string, Uint8Array>,
  key: SigningKey,
): Promise<{ files: Map<string, Uint8Array>; digest: string }> {
  const files = new Map(unsigned);
  files.set(SIGNATURE_FILE, await signRelease(unsigned, key, subtle));
  const digest = await releaseDigest(files, subtle);
  if (!digest.ok) throw new Error(digest.error);
  return { files, digest: digest.value };
}
