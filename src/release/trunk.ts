/** The identity of a trunk: releases with the same one see the same activations at the cut, whatever their heads and fingerprints are. */
import { headLayers, usedLayers } from '../network/cuts.ts';
import { weightShapes } from '../network/network.ts';
import { encodeSafetensors } from '../network/safetensors.ts';
import { encodeHex, encodeText } from './encoding.ts';
import type { ReleaseContent } from './release.ts';
import type { Subtle } from './signature.ts';

/** The SHA-256, in hex, over the input, the cut, and the layers and weights before it. */
export async function trunkDigest(
  { manifest: { network, cut }, weights }: Pick<ReleaseContent, 'manifest' | 'weights'>,
  subtle: Subtle,
): Promise<string> {
  const head = new Set(headLayers(network, cut).map(({ name }) => name));
  const layers = usedLayers(network).filter(({ name }) => !head.has(name));
  const names = new Set(layers.map(({ name }) => name));
  const own = [...weightShapes(network).keys()].filter((name) => names.has(name.slice(0, name.lastIndexOf('/'))));
  const description = encodeText(JSON.stringify({ input: network.input, cut, layers }));
  const tensors = encodeSafetensors(new Map(own.map((name) => [name, weights.get(name)!])));
  const hashes = await Promise.all([description, tensors].map((bytes) => subtle.digest('SHA-256', bytes)));
  const joined = Uint8Array.from(hashes.flatMap((hash) => [...new Uint8Array(hash)]));
  return encodeHex(new Uint8Array(await subtle.digest('SHA-256', joined)));
}
