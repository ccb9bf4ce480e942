/** The identity of what a guard watches: releases with the same one see the same features, whatever their purified heads and fingerprints are. */
import { guardNodes, headLayers, usedLayers } from '../network/cuts.ts';
import { weightShapes } from '../network/network.ts';
import { encodeSafetensors } from '../network/safetensors.ts';
import { encodeHex, encodeText } from './encoding.ts';
import type { ReleaseContent } from './release.ts';
import type { Subtle } from './signature.ts';

/** The SHA-256, in hex, over the input, the cut, and the victim's layers and weights before the last node that its guard watches. */
export async function trunkDigest(
  { manifest: { network, cut }, weights, victimHead }: Pick<ReleaseContent, 'manifest' | 'weights' | 'victimHead'>,
  subtle: Subtle,
): Promise<string> {
  const head = new Set(headLayers(network, guardNodes(network, cut).at(-1)!).map(({ name }) => name));
  const layers = usedLayers(network).filter(({ name }) => !head.has(name));
  const names = new Set(layers.map(({ name }) => name));
  const own = [...weightShapes(network).keys()].filter((name) => names.has(name.slice(0, name.lastIndexOf('/'))));
  const description = encodeText(JSON.stringify({ input: network.input, cut, layers }));
  const tensors = encodeSafetensors(new Map(own.map((name) => [name, victimHead.get(name) ?? weights.get(name)!])));
  const hashes = await Promise.all([description, tensors].map((bytes) => subtle.digest('SHA-256', bytes)));
  const joined = Uint8Array.from(hashes.flatMap((hash) => [...new Uint8Array(hash)]));
  return encodeHex(new Uint8Array(await subtle.digest('SHA-256', joined)));
}
