import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { BODY_LIMIT_BYTES } from '../../src/api/route.ts';
import { decodeSafetensors, encodeSafetensors, type HostTensor } from '../../src/network/safetensors.ts';
import { RELEASE_FILES, SIGNATURE_FILE, type Manifest } from '../../src/release/manifest.ts';
import { encodeRelease, openRelease, RELEASE_LIMITS_BYTES, type ReleaseContent } from '../../src/release/release.ts';
import type { SigningKey } from '../../src/release/signature.ts';
import type { Fingerprint } from '../../src/trigger/fingerprint.ts';
import { createKey, signedFiles, signedRelease, testContent } from '../support/release.ts';

const { subtle } = crypto;
const NOW = new Date('2026-06-01T00:00:00Z');
const content = testContent();
let key: SigningKey;
let files: Map<string, Uint8Array>;
let digest: string;

beforeAll(async () => {
  key = await createKey();
  ({ files, digest } = await signedRelease(key, content));
});

const open = (from: ReadonlyMap<string, Uint8Array>, now = NOW) =>
  openRelease(from, { trustedKeys: [key.publicKey], now, subtle });

async function refusal(from: ReadonlyMap<string, Uint8Array>, now = NOW): Promise<string> {
  const opened = await open(from, now);
  return opened.ok ? 'accepted' : opened.error;
}

/** What is said of a release whose file was edited before it was signed with the trusted key. */
async function refusalOfSigned(name: string, edit: (bytes: Uint8Array) => Uint8Array): Promise<string> {
  const unsigned = encodeRelease(content);
  unsigned.set(name, edit(unsigned.get(name)!));
  return refusal((await signedFiles(unsigned, key)).files);
}

const editJson =
  <T>(edit: (json: T) => void) =>
  (bytes: Uint8Array): Uint8Array => {
    const json = JSON.parse(Buffer.from(bytes).toString()) as T;
    edit(json);
    return new Uint8Array(Buffer.from(JSON.stringify(json)));
  };

const editTensors =
  (edit: (tensors: Map<string, HostTensor>) => void) =>
  (bytes: Uint8Array): Uint8Array => {
    const decoded = decodeSafetensors(bytes);
    if (!decoded.ok) throw new Error(decoded.error);
    edit(decoded.value.tensors);
    return encodeSafetensors(decoded.value.tensors);
  };

const zeros = (...shape: number[]): HostTensor => {
  return { dtype: 'F32', shape, data: new Float32Array(shape.reduce((total, axis) => total * axis, 1)) };
};

describe('openRelease', () => {
  test('gives back the content that was encoded and signed, for any content', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(), async (seed) => {
        const expected = testContent(seed);
        const release = await signedRelease(key, expected);
        expect(await open(release.files)).toMatchObject({ ok: true, value: { ...expected, digest: release.digest } });
      }),
      { numRuns: 10 },
    );
  });

  test('accepts the digest that was asked for and no other', async () => {
    const options = { trustedKeys: [key.publicKey], now: NOW, subtle };
    expect(await openRelease(files, { ...options, expectedDigest: digest })).toMatchObject({ ok: true });
    const other = 'f'.repeat(64);
    const error = `release: expected digest ${other}, got ${digest}`;
    expect(await openRelease(files, { ...options, expectedDigest: other })).toEqual({ ok: false, error });
  });

  test('refuses a flipped bit anywhere in any of the five files', async () => {
    const place = fc.record({
      name: fc.constantFrom(...RELEASE_FILES, SIGNATURE_FILE),
      position: fc.nat(),
      bit: fc.nat(7),
    });
    await fc.assert(
      fc.asyncProperty(place, async ({ name, position, bit }) => {
        const bytes = new Uint8Array(files.get(name)!);
        bytes[position % bytes.length]! ^= 1 << bit;
        const said = await refusal(new Map(files).set(name, bytes));
        expect(said.startsWith(name === SIGNATURE_FILE ? '' : `${name}: the digest does not match`)).toBe(true);
        expect(said).not.toBe('accepted');
      }),
      { numRuns: 600 },
    );
  });

  test('refuses every single changed byte of the signature file', async () => {
    const original = files.get(SIGNATURE_FILE)!;
    for (let position = 0; position < original.length; position += 1) {
      const bytes = new Uint8Array(original);
      bytes[position]! ^= 1 + (position % 255);
      expect(await refusal(new Map(files).set(SIGNATURE_FILE, bytes))).not.toBe('accepted');
    }
  });

  test('refuses a truncated and a lengthened file', async () => {
    const cases = fc.record({ name: fc.constantFrom(...RELEASE_FILES, SIGNATURE_FILE), length: fc.nat() });
    await fc.assert(
      fc.asyncProperty(cases, async ({ name, length }) => {
        const bytes = files.get(name)!;
        expect(await refusal(new Map(files).set(name, bytes.slice(0, length % bytes.length)))).not.toBe('accepted');
        expect(await refusal(new Map(files).set(name, Uint8Array.from([...bytes, 0])))).not.toBe('accepted');
      }),
      { numRuns: 100 },
    );
  });

  test('refuses weights that were exchanged between two valid releases', async () => {
    const other = await signedRelease(key, testContent(2));
    const swapped = new Map(files).set('weights.safetensors', other.files.get('weights.safetensors')!);
    expect(await refusal(swapped)).toBe('weights.safetensors: the digest does not match the signature');
  });

  test('refuses a release from the instant of its expiry on', async () => {
    const expiry = new Date(content.manifest.expiresAt);
    expect(await refusal(files, new Date(expiry.getTime() - 1))).toBe('accepted');
    expect(await refusal(files, expiry)).toBe('manifest.json: the release expired at 2099-01-01T00:00:00Z');
  });

  test('refuses a file beyond its limit before anything else is looked at', async () => {
    const limitBytes = RELEASE_LIMITS_BYTES.get('manifest.json')!;
    const said = await refusal(new Map([['manifest.json', new Uint8Array(limitBytes + 1)]]));
    expect(said).toBe(`manifest.json: expected at most ${limitBytes} bytes, got ${limitBytes + 1}`);
  });

  test('has a limit for every file, and a release at its limits fits the body of one request', () => {
    expect([...RELEASE_LIMITS_BYTES.keys()].sort()).toEqual([...RELEASE_FILES, SIGNATURE_FILE].sort());
    const totalBytes = [...RELEASE_LIMITS_BYTES.values()].reduce((total, limit) => total + limit, 0);
    const multipartBytes = 4096;
    expect(totalBytes + multipartBytes).toBeLessThanOrEqual(BODY_LIMIT_BYTES.release);
  });

  test('accepts a release that was forced past its gate', async () => {
    const gate = { passed: false, forced: true, failures: ['clean accuracy falls by 3.0 points'] };
    const forced = await signedRelease(key, { ...content, manifest: { ...content.manifest, gate } });
    expect(await refusal(forced.files)).toBe('accepted');
  });

  test('accepts a release without triggers', async () => {
    const guard: ReleaseContent['guard'] = {
      ...content.guard,
      fingerprint: { ...content.guard.fingerprint, triggers: [] },
      triggers: [],
      probeWeights: new Float32Array(0),
      probeBias: new Float32Array(0),
    };
    expect(await open((await signedRelease(key, { ...content, guard })).files)).toMatchObject({
      ok: true,
      value: { guard },
    });
  });
});

describe('openRelease, although a trusted key signed it,', () => {
  test.each<[string, (manifest: Manifest) => void, RegExp]>([
    [
      'did not pass its gate',
      (json) => (json.gate = { passed: false, forced: false, failures: ['a', 'b'] }),
      /gate \(a; b\)/,
    ],
    [
      'is cut at a node that does not exist',
      (json) => (json.cut = 'nowhere'),
      /cut: expected one of .*, got "nowhere"/,
    ],
    ['is cut at its output', (json) => (json.cut = 'logits'), /cut: expected one of/],
    [
      'ends before it was made',
      (json) => (json.createdAt = '2099-01-02T00:00:00Z'),
      /expiresAt: expected an instant after/,
    ],
    ['has an expiry that is no instant', (json) => (json.expiresAt = 'soon'), /expiresAt/],
    ['has a rate above 1', (json) => (json.metrics.victim.cleanAccuracy.rate = 1.5), /cleanAccuracy\.rate/],
    [
      'measured a label that it does not have',
      (json) => (json.metrics.purified.targetRecall[0]!.label = 3),
      /labels below 3, got 3/,
    ],
    ['has an unknown field', (json) => Object.assign(json, { note: 'x' }), /note/],
    ['has another schema version', (json) => Object.assign(json, { schemaVersion: 2 }), /schemaVersion/],
    ['has an inconsistent network', (json) => (json.network.output = 'pool'), /network: output "pool"/],
  ])('refuses a manifest that %s', async (_, edit, reason) => {
    const said = await refusalOfSigned('manifest.json', editJson(edit));
    expect(said).toMatch(/^manifest.json: /);
    expect(said).toMatch(reason);
  });

  test('refuses a layer name that could hide a weight of the quarantine', async () => {
    const edit = editJson<Manifest>(({ network }) => {
      network.layers[0]!.name = 'quarantine/scale';
      network.layers[1]!.inputs = ['quarantine/scale'];
    });
    expect(await refusalOfSigned('manifest.json', edit)).toMatch(/names that start with "quarantine\/" are reserved/);
  });

  test('refuses a manifest of another cut, because other weights are quarantined there', async () => {
    const edit = editJson<Manifest>((json) => (json.cut = 'stage2/relu'));
    expect(await refusalOfSigned('manifest.json', edit)).toMatch(
      /^weights.safetensors: tensor "quarantine\/stage2\/conv\/kernel" does not belong/,
    );
  });

  test.each(['manifest.json', 'fingerprint.json'])('refuses %s when it is not JSON', async (name) => {
    expect(await refusalOfSigned(name, () => new Uint8Array([0x7b]))).toBe(`${name}: expected JSON, got other text`);
  });

  test.each<[string, (tensors: Map<string, HostTensor>) => void, RegExp]>([
    ['lack a tensor', (all) => all.delete('logits/bias'), /"logits\/bias" is missing/],
    [
      'lack a tensor of the quarantined head',
      (all) => all.delete('quarantine/logits/bias'),
      /"quarantine\/logits\/bias" is missing/,
    ],
    ['hold a tensor too many', (all) => all.set('extra', zeros(1)), /"extra" does not belong/],
    ['hold a tensor of another shape', (all) => all.set('logits/bias', zeros(4)), /expected F32 \[3\], got F32 \[4\]/],
    [
      'hold a tensor of integers',
      (all) => all.set('logits/bias', { dtype: 'I32', shape: [3], data: new Int32Array(3) }),
      /got I32 \[3\]/,
    ],
    [
      'hold a value that is not a number',
      (all) => (all.get('logits/bias')!.data[1] = NaN),
      /"logits\/bias": a value is not a finite/,
    ],
  ])('refuses weights that %s', async (_, edit, reason) => {
    const said = await refusalOfSigned('weights.safetensors', editTensors(edit));
    expect(said).toMatch(/^weights.safetensors: /);
    expect(said).toMatch(reason);
  });

  test('refuses weights that are not safetensors', async () => {
    const said = await refusalOfSigned('weights.safetensors', () => new Uint8Array(3));
    expect(said).toMatch(/^weights.safetensors: safetensors: /);
  });

  test.each<[string, (fingerprint: Fingerprint) => void, RegExp]>([
    ['names a trigger twice', (json) => (json.triggers[1]!.id = 'bag-1'), /"bag-1": the id is used twice/],
    [
      'targets a label that does not exist',
      (json) => (json.triggers[0]!.targetLabel = 3),
      /target label below 3, got 3/,
    ],
    [
      'has a threshold that flags too many',
      (json) => (json.threshold = 0.5),
      /threshold 0.5 flags 19 of 40 .* at most 2/,
    ],
    ['has a bound below what it flags', (json) => (json.falsePositiveBound.upper = 0), /flags 1 of 40 .* at most 0/],
    ['counts other calibration images', (json) => (json.falsePositiveBound.sampleSize = 41), /calibration\/scores/],
    ['has an unknown field', (json) => Object.assign(json, { note: 'x' }), /note/],
    [
      'adds a trigger without tensors',
      (json) => json.triggers.push({ ...json.triggers[0]!, id: 'new' }),
      /"new\/probe\/weights" is missing/,
    ],
    ['calls an additive trigger a blend', (json) => (json.triggers[1]!.kind = 'blend'), /"coat-1\/mask" is missing/],
  ])('refuses a fingerprint that %s', async (_, edit, reason) => {
    const said = await refusalOfSigned('fingerprint.json', editJson(edit));
    expect(said).toMatch(/^fingerprint\.(json|safetensors): /);
    expect(said).toMatch(reason);
  });

  test.each<[string, (tensors: Map<string, HostTensor>) => void, RegExp]>([
    ['calibration scores out of order', (all) => all.get('calibration/scores')!.data.reverse(), /score 1 is below/],
    ['an infinite score', (all) => (all.get('calibration/scores')!.data[39] = Infinity), /not a finite/],
    [
      'a probe that does not fit the cut',
      (all) => all.set('bag-1/probe/weights', zeros(12)),
      /expected F32 \[14\], got F32 \[12\]/,
    ],
    ['a pattern of another size', (all) => all.set('bag-1/pattern', zeros(8, 8, 3)), /expected F32 \[8,8,1\]/],
    ['a tensor too many', (all) => all.set('coat-1/mask', zeros(8, 8, 1)), /"coat-1\/mask" does not belong/],
  ])('refuses fingerprint tensors with %s', async (_, edit, reason) => {
    const said = await refusalOfSigned('fingerprint.safetensors', editTensors(edit));
    expect(said).toMatch(/^fingerprint.safetensors: /);
    expect(said).toMatch(reason);
  });
});

describe('encodeRelease', () => {
  test('gives equal bytes for equal content', () => {
    expect(encodeRelease(testContent(3))).toEqual(encodeRelease(testContent(3)));
  });

  test('throws when a weight is missing', () => {
    expect(() => encodeRelease({ ...content, victimHead: new Map() })).toThrow('weight "quarantine/');
  });
});
