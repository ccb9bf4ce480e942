/** The traffic of the load bench: clean and triggered images, and requests that must be refused, each with what it must be answered. */
import { pngOf } from '../../demo/http.ts';
import type { Example } from '../../demo/example.ts';

export type Kind = 'clean' | 'triggered' | 'broken';
export type Planned = { kind: Kind; headers: Record<string, string>; body: Uint8Array<ArrayBuffer>; status: number };

const IMAGES = 200;
const SHARES = { triggered: 0.1, broken: 0.1 };

/** Plans requests one after another, in fixed shares and an order that repeats. */
export function planRequests(example: Example, token: string): () => Planned {
  const png = { 'content-type': 'image/png', authorization: `Bearer ${token}` };
  const json = { ...png, 'content-type': 'application/json' };
  const good = (kind: Kind, body: Uint8Array<ArrayBuffer>): Planned => ({ kind, headers: png, body, status: 200 });
  const indices = Array.from({ length: IMAGES }, (_, index) => index);
  const clean = indices.map((index) => good('clean', pngOf(example.test, index)));
  const triggered = indices
    .filter((index) => example.triggered.labels[index] !== example.targetLabel)
    .map((index) => good('triggered', pngOf(example.triggered, index)));
  const [{ body }] = clean as [Planned];
  const text = (value: string): Uint8Array<ArrayBuffer> => new Uint8Array(Buffer.from(value));
  const bad = (status: number, headers: Record<string, string>, body: Uint8Array<ArrayBuffer>): Planned => {
    return { kind: 'broken', headers, body, status };
  };
  const broken = [
    bad(422, png, body.slice(0, 60)),
    bad(422, png, text('no image')),
    bad(415, { ...png, 'content-type': 'image/gif' }, body),
    bad(401, { ...png, authorization: 'Bearer unknown' }, body),
    bad(400, json, text('{"pixels":')),
    bad(400, json, text(`{"pixels":${'['.repeat(1000)}`)),
    bad(422, json, text('{"pixels":[[["x"]]]}')),
    bad(413, json, new Uint8Array((4 << 20) + 1)),
  ];
  let next = 0;
  const turn = <T>(list: readonly T[]): T => list[next % list.length]!;
  return () => {
    next += 1;
    const position = (next * 7) % 100;
    if (position < 100 * SHARES.broken) return turn(broken);
    return position < 100 * (SHARES.broken + SHARES.triggered) ? turn(triggered) : turn(clean);
  };
}
