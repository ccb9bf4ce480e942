/** A release to which some images are clean and others suspect, whatever its random weights are: the threshold lies between them. */
import type { ReleaseContent } from '../../src/release/release.ts';
import { testContent } from '../support/release.ts';
import { offlineAnswer } from './offline.ts';

/** The bytes [8*8*1] of an image, different for each seed. */
export const imageBytes = (seed: number): Uint8Array =>
  Uint8Array.from({ length: 64 }, (_, index) => 127 + 120 * Math.sin(seed + index * 0.7 * seed));

/** The same as JSON pixels [8,8,1]. */
export const nestedPixels = (bytes: Uint8Array): number[][][] =>
  Array.from({ length: 8 }, (_, y) => Array.from({ length: 8 }, (_, x) => [bytes[8 * y + x]!]));

/** The release, and one image that it finds clean and one that it finds suspect. */
export async function mixedRelease(): Promise<{ content: ReleaseContent; clean: Uint8Array; suspect: Uint8Array }> {
  const content = testContent();
  const scored = [];
  for (const seed of [1, 2, 3, 4]) {
    const bytes = imageBytes(seed);
    const { probeScores } = await offlineAnswer(
      content,
      Float32Array.from(bytes, (value) => value / 255),
    );
    scored.push({ bytes, score: Math.max(...probeScores) });
  }
  scored.sort((a, b) => a.score - b.score);
  const [lowest, highest] = [scored[0]!, scored.at(-1)!];
  const fingerprint = { ...content.guard.fingerprint, threshold: (lowest.score + highest.score) / 2 };
  return {
    content: { ...content, guard: { ...content.guard, fingerprint } },
    clean: lowest.bytes,
    suspect: highest.bytes,
  };
}
