import { expect, test } from 'vitest';
import { decodeGuard, encodeGuard, type Guard } from '../../src/release/guard.ts';
import type { Trigger } from '../../src/trigger/trigger.ts';
import { testContent } from '../support/release.ts';

const { guard, manifest } = testContent();
const reopened = (files: ReadonlyMap<string, Uint8Array>): ReturnType<typeof decodeGuard> =>
  decodeGuard(files.get('fingerprint.json')!, files.get('fingerprint.safetensors')!, manifest.network, manifest.cut);
/** The guard with its second trigger turned into a warp of the given flow. */
function withWarp(flow: Float32Array): Guard {
  const [first, second] = guard.fingerprint.triggers;
  const warp: Trigger = { ...guard.triggers[1]!, kind: 'warp', pattern: flow };
  const fingerprint = { ...guard.fingerprint, triggers: [first!, { ...second!, kind: 'warp' as const }] };
  return { ...guard, fingerprint, triggers: [guard.triggers[0]!, warp] };
}

test('a warp comes back as it was, with a flow of two values a place', () => {
  const expected = withWarp(Float32Array.from({ length: 2 * 64 }, (_, index) => Math.sin(index)));
  expect(reopened(encodeGuard(expected))).toMatchObject({ ok: true, value: expected });
});

test('what calls itself a warp but has the pattern of an addition is refused, and the tensor is named', () => {
  const files = encodeGuard(guard);
  const json = Buffer.from(files.get('fingerprint.json')!).toString().replace('"additive"', '"warp"');
  const said = reopened(new Map([...files, ['fingerprint.json', new Uint8Array(Buffer.from(json))]]));
  expect(said).toMatchObject({ ok: false });
  expect(said.ok ? '' : said.error).toMatch(/^fingerprint\.safetensors: .*coat-1\/pattern.*8,8,2/);
});
