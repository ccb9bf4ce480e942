/**
 * The manifest of a release: THE contract between the offline program and the edge.
 *
 * A release is five files: `manifest.json` (this schema), `weights.safetensors` (see below), `fingerprint.json`,
 * `fingerprint.safetensors` and `signature.sigstore.json`. Its digest is the model digest of the signature (signature.ts).
 * `weights.safetensors` holds the purified network's weights under their own names (network.ts, `weightShapes`) and the
 * victim's head (the layers behind the cut) in quarantine under `quarantine/<weight name>`.
 */
import * as z from 'zod';
import { inputSchema } from '../network/input.ts';
import { networkSchema } from '../network/network.ts';

const rate = z.number().min(0).max(1);
const sha256 = z.string().regex(/^[0-9a-f]{64}$/, 'expected 64 lower-case hexadecimal digits');
const estimate = z.strictObject({ rate, low: rate, high: rate, sampleSize: z.int().min(0) });

/** Metrics measured on held-back clean images and recovered triggers only, with 95 % intervals. */
const metrics = z.strictObject({
  cleanAccuracy: estimate,
  recoveredAttackSuccessRate: estimate,
  targetRecall: z.array(z.strictObject({ label: z.int().min(0), recall: estimate })),
});

export const RELEASE_FILES = [
  'fingerprint.json',
  'fingerprint.safetensors',
  'manifest.json',
  'weights.safetensors',
] as const;
export const SIGNATURE_FILE = 'signature.sigstore.json';
export const QUARANTINE = 'quarantine/';

/**
 * The model that was purified. `digest` is that of a release, the SHA-256 of an imported file (of the one with the graph, if weights lie
 * beside it: `victimDigest` covers all weights), or for a model directory that of its two files, as in a release.
 */
const source = z.strictObject({
  format: z.enum(['release', 'network', 'onnx', 'h5', 'keras', 'tfjs']),
  digest: sha256,
  /** How an imported file wants its images; null for a release and for a model directory, which take `images` as they are. */
  input: inputSchema.nullable(),
});

export const manifestSchema = z.strictObject({
  schemaVersion: z.literal(1),
  network: networkSchema,
  /** The node that ends the trunk. */
  cut: z.string(),
  metrics: z.strictObject({ victim: metrics, purified: metrics }),
  gate: z.strictObject({ passed: z.boolean(), forced: z.boolean(), failures: z.array(z.string()) }),
  provenance: z.strictObject({
    tool: z.string(),
    engine: z.string(),
    seed: z.int(),
    source,
    victimDigest: sha256,
    cleanDataDigest: sha256,
  }),
  /** Instants as ISO 8601 in UTC; a worker refuses a release past its expiry. */
  createdAt: z.iso.datetime(),
  expiresAt: z.iso.datetime(),
});

export type Manifest = z.infer<typeof manifestSchema>;
export type Source = z.infer<typeof source>;
