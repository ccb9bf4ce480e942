import { expect, test } from 'vitest';
import { refusalReason } from '../../src/alert/refusal.ts';
import { RELEASE_FILES, SIGNATURE_FILE } from '../../src/release/manifest.ts';
import { encodeRelease, openRelease } from '../../src/release/release.ts';
import { createKey, signedFiles, signedRelease, testContent } from '../support/release.ts';

const { subtle } = crypto;
const key = await createKey();
const content = testContent();
const { files } = await signedRelease(key, content);

type Opening = { publicKey?: Uint8Array; expectedDigest?: string; now?: Date };
async function reasonOf(from: ReadonlyMap<string, Uint8Array>, opening: Opening = {}) {
  const { publicKey = key.publicKey, now = new Date('2026-06-01T00:00:00Z'), ...rest } = opening;
  const opened = await openRelease(from, { trustedKeys: [publicKey], now, subtle, ...rest });
  if (opened.ok) throw new Error('accepted');
  return refusalReason(opened.error);
}

test.each([...RELEASE_FILES, SIGNATURE_FILE])('a release without %s is refused as missing', async (name) => {
  expect(await reasonOf(new Map([...files].filter(([file]) => file !== name)))).toBe('missing');
});

test('a release that another key signed, or whose signature is damaged, is refused by its signature', async () => {
  expect(await reasonOf(files, { publicKey: (await createKey()).publicKey })).toBe('signature');
  expect(await reasonOf(new Map(files).set(SIGNATURE_FILE, new TextEncoder().encode('{}')))).toBe('signature');
});

test('changed bytes and another digest than the one asked for are refused by digest', async () => {
  expect(await reasonOf(files, { expectedDigest: '0'.repeat(64) })).toBe('digest');
  const changed = files.get('weights.safetensors')!.slice();
  changed[changed.length - 1]! ^= 1;
  expect(await reasonOf(new Map(files).set('weights.safetensors', changed))).toBe('digest');
});

test('an expired release is refused by expiry, also when it expires while it is loaded', async () => {
  expect(await reasonOf(files, { now: new Date('2100-01-01T00:00:00Z') })).toBe('expiry');
  expect(refusalReason(`release ${'a'.repeat(64)}: it expired at 2026-01-01T00:00:00.000Z`)).toBe('expiry');
});

test('a release that did not pass its gate is refused by scope, and signed content that does not fit together by content', async () => {
  const gate = { passed: false, forced: false, failures: [] };
  const ungated = { ...content, manifest: { ...content.manifest, gate } };
  expect(await reasonOf((await signedRelease(key, ungated)).files)).toBe('scope');
  const unsigned = encodeRelease(content).set('fingerprint.safetensors', new Uint8Array(8));
  expect(await reasonOf((await signedFiles(unsigned, key)).files)).toBe('content');
});

test('what is not stored is missing, what does not load is content', () => {
  expect(refusalReason('release x: weights.safetensors is not stored')).toBe('missing');
  expect(refusalReason('release x: it could not be loaded: Error: wasm: no memory for 8 bytes')).toBe('content');
});
