/** Which clients get the canary: the same ones for as long as it runs, and more of them, never others, as its percentage rises. */
import type { Subtle } from '../release/signature.ts';

// Neither Node's types nor the Workers' are there in src/; both platforms have it.
declare const TextEncoder: new () => { encode(text: string): Uint8Array };

/** Clients fall into this many buckets, so that a percentage has two digits behind the point. */
export const BUCKETS = 10_000;

/** The bucket (0..9999) of a client in one rollout: of SHA-256 over the rollout's salt and the client's key, the first 32 bits, scaled. */
export async function bucketOf(salt: string, clientKey: string, subtle: Subtle): Promise<number> {
  const digest = await subtle.digest('SHA-256', new TextEncoder().encode(`${salt}\n${clientKey}`));
  return Math.floor((new DataView(digest).getUint32(0) / 2 ** 32) * BUCKETS);
}

/** Whether the client of a bucket gets the canary at a percentage. */
export const getsCanary = (bucket: number, canaryPercent: number): boolean => bucket < (canaryPercent / 100) * BUCKETS;
