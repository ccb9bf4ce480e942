/** What this isolate keeps of the images it judged, for fingerprints that are not known yet; it goes to the object in the background. */
import { quantize } from '../../src/quantize.ts';
import { clientKeyHash } from '../client.ts';
import type { Env } from '../env.ts';
import type { Call } from '../http.ts';
import type { Inference, Model } from '../model.ts';
import { activationsObject, keptLimit, type Origin, type Segment } from './object.ts';

const FLUSH_MS = 2_000;
/** A flush that is this late was cut off with its request. */
const FLUSH_GRACE_MS = 3_000;
/** How many images wait at most; while there are as many, further ones are not kept. */
const PENDING_LIMIT = 1_000;
/** The most bytes of values in one segment, for a row may have 2 MB. */
const SEGMENT_BYTES = 1 << 20;

type Pending = Origin & { trunk: string; values: Int8Array };

const isolate: { pending: Pending[]; flushAtMs: number } = { pending: [], flushAtMs: -Infinity };

/** Keeps the activations of images that `model` judged, where RETRO_HUNT_REQUESTS asks for it. */
export function keepActivations(c: Call, model: Model, results: readonly Inference[]): void {
  if (keptLimit(c.env) === 0) return;
  const atMs = Date.now();
  const keep = async (): Promise<void> => {
    const client = await clientKeyHash(c);
    for (const { features } of results.slice(0, PENDING_LIMIT - isolate.pending.length)) {
      if (features) isolate.pending.push({ trunk: model.trunk, atMs, clientKeyHash: client, ...quantize(features) });
    }
    if (atMs < isolate.flushAtMs + FLUSH_GRACE_MS) return;
    isolate.flushAtMs = atMs + FLUSH_MS;
    await scheduler.wait(FLUSH_MS);
    await flush(c.env);
  };
  c.executionCtx.waitUntil(keep());
}

async function flush(env: Env): Promise<void> {
  const pending = isolate.pending.splice(0);
  isolate.flushAtMs = -Infinity;
  try {
    if (pending.length) await activationsObject(env).keep(segmentsOf(pending));
  } catch (error) {
    // They are for hindsight: not worth a queue.
    console.error(JSON.stringify({ event: 'activations_not_kept', count: pending.length, error: String(error) }));
  }
}

function segmentsOf(pending: readonly Pending[]): Segment[] {
  const segments: Segment[] = [];
  for (const [trunk, images] of Map.groupBy(pending, ({ trunk }) => trunk)) {
    const size = images[0]!.values.length;
    const perSegment = Math.max(1, Math.floor(SEGMENT_BYTES / size));
    for (let start = 0; start < images.length; start += perSegment) {
      const part = images.slice(start, start + perSegment);
      const values = new Uint8Array(part.length * size);
      part.forEach((image, index) => values.set(new Uint8Array(image.values.buffer), index * size));
      const origins = part.map(({ atMs, clientKeyHash, scale }) => ({ atMs, clientKeyHash, scale }));
      segments.push({ trunk, origins, values });
    }
  }
  return segments;
}
