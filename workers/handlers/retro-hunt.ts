/** Were we already attacked? A fingerprint, run over the activations that were kept of past images. */
import type * as z from 'zod';
import { CLIENTS_LIMIT, retroHuntRequest, type retroHuntResponse } from '../../src/api/retro-hunt.ts';
import { BODY_LIMIT_BYTES } from '../../src/api/route.ts';
import { dequantize } from '../../src/quantize.ts';
import type { Guard } from '../../src/release/guard.ts';
import type { Subtle } from '../../src/release/signature.ts';
import { trunkDigest } from '../../src/release/trunk.ts';
import { judge } from '../../src/trigger/match.ts';
import { expectMediaType, parseJson, readBody, Refusal, type Call } from '../http.ts';
import { probeScores } from '../probe.ts';
import { readRelease, releaseExists } from '../releases.ts';
import { activationsObject, type Page, type Segment } from '../retro-hunt/object.ts';

type Findings = {
  judged: number;
  oldestMs: number;
  firstMs: number;
  lastMs: number;
  matches: number;
  triggers: Map<string, number>;
  clients: Map<string, number>;
};

const add = (counts: Map<string, number>, name: string): Map<string, number> =>
  counts.set(name, (counts.get(name) ?? 0) + 1);

/** POST /v1/retro-hunts */
export async function retroHunt(c: Call): Promise<Response> {
  expectMediaType(c.req.raw, ['application/json']);
  const { digest } = parseJson(await readBody(c.req.raw, BODY_LIMIT_BYTES.json), retroHuntRequest);
  if (!(await releaseExists(c.env, digest))) {
    throw new Refusal(404, 'unknown_release', `digest: no release ${digest} is stored`);
  }
  const release = await readRelease(c.env, digest);
  if (!release.ok) throw new Refusal(422, 'release_refused', release.error);
  const { guard } = release.value;
  const trunk = await trunkDigest(release.value, crypto.subtle as unknown as Subtle);
  const object = activationsObject(c.env);
  const found: Findings = {
    judged: 0,
    oldestMs: Infinity,
    firstMs: Infinity,
    lastMs: -Infinity,
    matches: 0,
    triggers: new Map(guard.fingerprint.triggers.map(({ id }) => [id, 0])),
    clients: new Map(),
  };
  for (let after: number | null = 0; after !== null;) {
    const page = (await object.read(trunk, after)) as Page;
    for (const segment of page.segments) hunt(guard, segment, found);
    after = page.next;
  }
  const kept = Math.max(await object.kept(), found.judged);
  const instant = (ms: number): string | null => (Number.isFinite(ms) ? new Date(ms).toISOString() : null);
  const body: z.infer<typeof retroHuntResponse> = {
    release: digest,
    kept,
    judged: found.judged,
    notComparable: kept - found.judged,
    oldest: instant(found.oldestMs),
    matches: found.matches,
    firstMatch: instant(found.firstMs),
    lastMatch: instant(found.lastMs),
    triggers: [...found.triggers].map(([triggerId, matches]) => ({ triggerId, matches })),
    clients: [...found.clients]
      .toSorted(([, a], [, b]) => b - a)
      .slice(0, CLIENTS_LIMIT)
      .map(([clientKeyHash, matches]) => ({ clientKeyHash, matches })),
  };
  return c.json(body);
}

/** Judges the images of a segment, and adds what it found. */
function hunt({ fingerprint, probeWeights, probeBias, calibration }: Guard, segment: Segment, found: Findings): void {
  const size = segment.values.length / segment.origins.length;
  segment.origins.forEach(({ atMs, clientKeyHash, scale }, index) => {
    const values = new Int8Array(segment.values.slice(index * size, (index + 1) * size).buffer);
    const scores = probeScores(dequantize({ scale, values }), probeWeights, probeBias);
    const { matches } = judge(scores, fingerprint, calibration);
    found.judged += 1;
    found.oldestMs = Math.min(found.oldestMs, atMs);
    if (matches.length === 0) return;
    found.matches += 1;
    found.firstMs = Math.min(found.firstMs, atMs);
    found.lastMs = Math.max(found.lastMs, atMs);
    add(found.clients, clientKeyHash);
    for (const { triggerId } of matches) add(found.triggers, triggerId);
  });
}
