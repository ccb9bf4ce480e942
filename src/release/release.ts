/**
 * A release as plain data, and its files: `encodeRelease` writes what `openRelease` checks and reads. Nothing may be served
 * that `openRelease` has not accepted.
 */
import * as z from 'zod';
import { cutCandidates, headWeightShapes } from '../network/cuts.ts';
import { parseNetwork, weightShapes, type Network, type Shape } from '../network/network.ts';
import { encodeSafetensors, type HostTensor, type HostWeights } from '../network/safetensors.ts';
import { failure, success, type Result } from '../result.ts';
import { decodeJson, encodeText } from './encoding.ts';
import { decodeGuard, encodeGuard, type Guard } from './guard.ts';
import { manifestSchema, QUARANTINE, SIGNATURE_FILE, type Manifest } from './manifest.ts';
import { verifySignature, type ReleaseFiles, type Subtle } from './signature.ts';
import { readTensors } from './tensors.ts';

const MEBIBYTE = 2 ** 20;

/** The largest size in bytes of each file; together they fit the body of one request to a worker (64 MiB, api/route.ts). */
export const RELEASE_LIMITS_BYTES: ReadonlyMap<string, number> = new Map([
  ['fingerprint.json', MEBIBYTE / 4],
  ['fingerprint.safetensors', 3 * MEBIBYTE],
  ['manifest.json', MEBIBYTE],
  ['weights.safetensors', 59 * MEBIBYTE],
  [SIGNATURE_FILE, MEBIBYTE / 16],
]);

/**
 * What a release holds: `weights` are the purified network's, `victimHead` those of the victim's layers behind the cut,
 * under the same names (a forward pass with `[...weights, ...victimHead]` gives the victim's own answer).
 */
export type ReleaseContent = {
  readonly manifest: Manifest;
  readonly weights: HostWeights;
  readonly victimHead: HostWeights;
  readonly guard: Guard;
};

/** A release that was accepted: its digest (64 hex digits) and the hint of the key that signed it. */
export type Release = ReleaseContent & { readonly digest: string; readonly keyHint: string };

/** The four files of a release that are then signed, by name; equal content gives equal bytes. */
export function encodeRelease({ manifest, weights, victimHead, guard }: ReleaseContent): Map<string, Uint8Array> {
  const { network, cut } = manifest;
  const pick = (from: HostWeights, shapes: ReadonlyMap<string, Shape>, prefix: string): [string, HostTensor][] =>
    [...shapes.keys()].map((name) => {
      const tensor = from.get(name);
      if (!tensor) throw new Error(`release: weight "${prefix}${name}" is missing`);
      return [prefix + name, tensor];
    });
  const tensors = new Map([
    ...pick(weights, weightShapes(network), ''),
    ...pick(victimHead, headWeightShapes(network, cut), QUARANTINE),
  ]);
  return new Map([
    ...encodeGuard(guard),
    ['manifest.json', encodeText(`${JSON.stringify(manifestSchema.parse(manifest), null, 2)}\n`)],
    ['weights.safetensors', encodeSafetensors(tensors)],
  ]);
}

/**
 * Opens a release for serving, or says in one sentence why it must not be served: sizes, signature, digest, schema, gate, expiry at the
 * instant `now`, weights and fingerprint all have to hold. `trustedKeys` are public keys (SPKI, DER).
 */
export async function openRelease(
  files: ReleaseFiles,
  options: { trustedKeys: readonly Uint8Array[]; expectedDigest?: string; now: Date; subtle: Subtle },
): Promise<Result<Release>> {
  const { trustedKeys, expectedDigest, now, subtle } = options;
  const sizes = checkSizes(files);
  if (!sizes.ok) return sizes;
  const signature = await verifySignature(files, trustedKeys, subtle);
  if (!signature.ok) return signature;
  const { digest } = signature.value;
  if (expectedDigest !== undefined && digest !== expectedDigest) {
    return failure(`release: expected digest ${expectedDigest}, got ${digest}`);
  }
  const manifest = parseManifest(files.get('manifest.json')!);
  if (!manifest.ok) return failure(`manifest.json: ${manifest.error}`);
  const scope = checkScope(manifest.value, now);
  if (!scope.ok) return failure(`manifest.json: ${scope.error}`);

  const { network, cut } = manifest.value;
  const weights = readWeights(files.get('weights.safetensors')!, network, cut);
  if (!weights.ok) return weights;
  const guard = decodeGuard(files.get('fingerprint.json')!, files.get('fingerprint.safetensors')!, network, cut);
  if (!guard.ok) return guard;
  return success({ ...signature.value, manifest: manifest.value, ...weights.value, guard: guard.value });
}

/** Refuses a file that is larger than its limit; names are the signature's to check. */
function checkSizes(files: ReleaseFiles): Result<null> {
  for (const [name, limitBytes] of RELEASE_LIMITS_BYTES) {
    const sizeBytes = files.get(name)?.length ?? 0;
    if (sizeBytes > limitBytes) return failure(`${name}: expected at most ${limitBytes} bytes, got ${sizeBytes}`);
  }
  return success(null);
}

function parseManifest(bytes: Uint8Array): Result<Manifest> {
  const json = decodeJson(bytes);
  if (!json.ok) return json;
  const parsed = manifestSchema.safeParse(json.value);
  if (!parsed.success) return failure(z.prettifyError(parsed.error).replaceAll(/\s+/g, ' '));
  const network = parseNetwork(parsed.data.network);
  return network.ok ? success(parsed.data) : network;
}

function checkScope({ network, cut, gate, metrics, createdAt, expiresAt }: Manifest, now: Date): Result<null> {
  if (now >= new Date(expiresAt)) return failure(`the release expired at ${expiresAt}`);
  if (new Date(createdAt) >= new Date(expiresAt)) {
    return failure(`expiresAt: expected an instant after createdAt ${createdAt}, got ${expiresAt}`);
  }
  if (!gate.passed && !gate.forced) {
    return failure(`the release did not pass its gate (${gate.failures.join('; ') || 'no reason given'})`);
  }
  const cuts = cutCandidates(network);
  if (!cuts.includes(cut)) return failure(`cut: expected one of ${cuts.join(', ')}, got "${cut}"`);
  const reserved = network.layers.find(({ name }) => name.startsWith(QUARANTINE));
  if (reserved) return failure(`network: layer "${reserved.name}": names that start with "${QUARANTINE}" are reserved`);
  const labelCount = network.labelNames.length;
  const recalls = [...metrics.victim.targetRecall, ...metrics.purified.targetRecall];
  const unknown = recalls.find(({ label }) => label >= labelCount);
  return unknown ? failure(`metrics: expected target labels below ${labelCount}, got ${unknown.label}`) : success(null);
}

function readWeights(
  bytes: Uint8Array,
  network: Network,
  cut: string,
): Result<{ weights: HostWeights; victimHead: HostWeights }> {
  const purified = weightShapes(network);
  const head = headWeightShapes(network, cut);
  const quarantined = [...head].map(([name, shape]) => [QUARANTINE + name, shape] as const);
  const values = readTensors('weights.safetensors', bytes, new Map([...purified, ...quarantined]));
  if (!values.ok) return values;
  const named = (shapes: ReadonlyMap<string, Shape>, prefix: string): HostWeights =>
    new Map(
      [...shapes].map(([name, shape]) => [name, { dtype: 'F32', shape, data: values.value.get(prefix + name)! }]),
    );
  return success({ weights: named(purified, ''), victimHead: named(head, QUARANTINE) });
}
