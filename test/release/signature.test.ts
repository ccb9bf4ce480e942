import { createHash, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { bundleFromJSON, type SerializedBundle } from '@sigstore/bundle';
import { toSignedEntity, Verifier } from '@sigstore/verify';
import { beforeAll, describe, expect, test } from 'vitest';
import { publicKeyPem } from '../../src/release/encoding.ts';
import { RELEASE_FILES, SIGNATURE_FILE } from '../../src/release/manifest.ts';
import { keyHint, releaseDigest, signRelease, verifySignature, type SigningKey } from '../../src/release/signature.ts';
import { createKey, signedRelease, testContent } from '../support/release.ts';

const { subtle } = crypto;
let key: SigningKey;
let files: Map<string, Uint8Array>;
let digest: string;

beforeAll(async () => {
  key = await createKey();
  ({ files, digest } = await signedRelease(key));
});

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('utf8');
const readBundle = (): SerializedBundle => JSON.parse(text(files.get(SIGNATURE_FILE)!)) as SerializedBundle;
const nodeKey = (spki: Uint8Array): KeyObject =>
  createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
const sha256 = (bytes: Uint8Array): Buffer => createHash('sha256').update(bytes).digest();
const withSignature = (bytes: Uint8Array | string): Map<string, Uint8Array> =>
  new Map(files).set(SIGNATURE_FILE, new Uint8Array(Buffer.from(bytes)));

async function refusal(changed: ReadonlyMap<string, Uint8Array>, trusted = [key.publicKey]): Promise<string> {
  const result = await verifySignature(changed, trusted, subtle);
  return result.ok ? 'accepted' : result.error;
}

/** Verifies with the Sigstore project's own library, which knows nothing of releases. */
function verifyWithSigstore(bundle: unknown, spki: Uint8Array): void {
  const trust = {
    certificateAuthorities: [],
    timestampAuthorities: [],
    tlogs: [],
    ctlogs: [],
    publicKey: () => ({ publicKey: nodeKey(spki), validFor: () => true }),
  };
  const verifier = new Verifier(trust, { tlogThreshold: 0, ctlogThreshold: 0, timestampThreshold: 0 });
  verifier.verify(toSignedEntity(bundleFromJSON(bundle)));
}

describe('the bundle', () => {
  test('verifies with the Sigstore library and our public key', () => {
    expect(() => verifyWithSigstore(readBundle(), key.publicKey)).not.toThrow();
  });

  test('does NOT verify with the Sigstore library when its statement was changed, nor with another key', async () => {
    const changed = readBundle();
    const payload = Buffer.from(changed.dsseEnvelope!.payload, 'base64').toString();
    const replaced = payload.replace(digest, 'f'.repeat(64));
    changed.dsseEnvelope!.payload = Buffer.from(replaced).toString('base64');
    expect(replaced).not.toBe(payload);
    expect(() => verifyWithSigstore(changed, key.publicKey)).toThrow('signature');
    const { publicKey } = await createKey();
    expect(() => verifyWithSigstore(readBundle(), publicKey)).toThrow('signature');
  });

  test('holds an OpenSSF Model Signing v1.0 statement about every file', () => {
    const statement: unknown = JSON.parse(Buffer.from(readBundle().dsseEnvelope!.payload, 'base64').toString());
    const digests = [...RELEASE_FILES].sort().map((name) => sha256(files.get(name)!));
    expect(statement).toEqual({
      _type: 'https://in-toto.io/Statement/v1',
      subject: [{ name: 'trigger-guard-release', digest: { sha256: sha256(Buffer.concat(digests)).toString('hex') } }],
      predicateType: 'https://model_signing/signature/v1.0',
      predicate: {
        serialization: {
          method: 'files',
          hash_type: 'sha256',
          allow_symlinks: false,
          ignore_paths: ['signature.sigstore.json'],
        },
        resources: ['fingerprint.json', 'fingerprint.safetensors', 'manifest.json', 'weights.safetensors'].map(
          (name) => ({ name, algorithm: 'sha256', digest: sha256(files.get(name)!).toString('hex') }),
        ),
      },
    });
  });

  test('names the key by the SHA-256 of its PEM text, as the model_signing tool does', async () => {
    const pem = nodeKey(key.publicKey).export({ type: 'spki', format: 'pem' }) as string;
    expect(publicKeyPem(key.publicKey)).toBe(pem);
    expect(await keyHint(key.publicKey, subtle)).toBe(sha256(Buffer.from(pem)).toString('hex'));
  });
});

describe('releaseDigest', () => {
  test('is the digest that verification gives, with or without the signature file', async () => {
    const verified = await verifySignature(files, [key.publicKey], subtle);
    expect(verified).toEqual({ ok: true, value: { digest, keyHint: await keyHint(key.publicKey, subtle) } });
    const unsigned = new Map(files);
    unsigned.delete(SIGNATURE_FILE);
    expect(await releaseDigest(unsigned, subtle)).toEqual({ ok: true, value: digest });
  });

  test('does not depend on the key or on the order of the files', async () => {
    const other = await signedRelease(await createKey());
    expect(other.digest).toBe(digest);
    expect(await releaseDigest(new Map([...files].reverse()), subtle)).toEqual({ ok: true, value: digest });
  });
});

describe('verifySignature', () => {
  test('finds the right one among several trusted keys', async () => {
    const others = [await createKey(), await createKey()].map(({ publicKey }) => publicKey);
    expect(await refusal(files, [others[0]!, key.publicKey, others[1]!])).toBe('accepted');
  });

  test('refuses a release that no trusted key signed, and says which key did', async () => {
    const other = await createKey();
    const hint = await keyHint(key.publicKey, subtle);
    expect(await refusal(files, [other.publicKey])).toContain(
      `signed with key ${hint}, which is not one of the 1 trusted`,
    );
    expect(await refusal(files, [])).toContain('not one of the 0 trusted keys');
  });

  test('refuses the signature of an untrusted key under the hint of a trusted one', async () => {
    const attacker = await createKey();
    const forged = await signRelease(new Map([...files].slice(0, 4)), attacker, subtle);
    const [from, to] = await Promise.all([attacker, key].map(({ publicKey }) => keyHint(publicKey, subtle)));
    const relabelled = text(forged).replace(from!, to!);
    expect(await refusal(withSignature(relabelled))).toMatch(/does not verify with key/);
  });

  test('says so when the trusted key is not on the curve P-256', async () => {
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
    const spki = new Uint8Array(publicKey.export({ type: 'spki', format: 'der' }));
    const from = await keyHint(key.publicKey, subtle);
    const relabelled = text(files.get(SIGNATURE_FILE)!).replace(from, await keyHint(spki, subtle));
    expect(await refusal(withSignature(relabelled), [spki])).toMatch(/is not an ECDSA P-256 public key/);
  });

  test.each([...RELEASE_FILES, SIGNATURE_FILE])('refuses a release without %s', async (name) => {
    const fewer = new Map(files);
    fewer.delete(name);
    expect(await refusal(fewer)).toBe(`${name}: the file is missing from the release`);
  });

  test('refuses a file that does not belong, and one under another name', async () => {
    expect(await refusal(new Map(files).set('notes.txt', new Uint8Array()))).toMatch(/^notes.txt: .* does not belong/);
    const renamed = new Map(files).set('Manifest.json', files.get('manifest.json')!);
    renamed.delete('manifest.json');
    expect(await refusal(renamed)).toBe('manifest.json: the file is missing from the release');
  });

  test('refuses two files that were exchanged, and a file of another release', async () => {
    const exchanged = new Map(files)
      .set('manifest.json', files.get('fingerprint.json')!)
      .set('fingerprint.json', files.get('manifest.json')!);
    expect(await refusal(exchanged)).toBe('fingerprint.json: the digest does not match the signature');
    const other = await signedRelease(key, testContent(2));
    const swapped = new Map(files).set('weights.safetensors', other.files.get('weights.safetensors')!);
    expect(await refusal(swapped)).toBe('weights.safetensors: the digest does not match the signature');
  });

  test('refuses a valid signature of another release', async () => {
    const other = await signedRelease(key, testContent(2));
    expect(await refusal(withSignature(other.files.get(SIGNATURE_FILE)!))).toMatch(
      /digest does not match the signature/,
    );
  });

  test.each<[string, (json: string) => string, RegExp]>([
    ['an empty file', () => '', /expected JSON/],
    ['JSON of another kind', () => '[]', /expected object/],
    ['added white space', (json) => `${json} `, /one encoding/],
    ['removed white space', (json) => JSON.stringify(JSON.parse(json)), /one encoding/],
    ['an unknown field', (json) => json.replace('{', '{"note": "x",'), /one encoding/],
    ['a repeated field', (json) => json.replace('{', '{"mediaType": "other",'), /one encoding/],
    ['another media type', (json) => json.replace('v0.3', 'v0.2'), /one encoding/],
    ['another payload type', (json) => json.replace('in-toto', 'in-t0to'), /one encoding/],
    ['a key id', (json) => json.replace('"keyid": ""', '"keyid": "1"'), /one encoding/],
    [
      'a hint in capitals',
      (json) => json.replace(/"hint": "\w+"/, (hint) => `"hint": ${hint.slice(8).toUpperCase()}`),
      /hint/,
    ],
    ['no signature', (json) => json.replace(/"signatures": \[[^\]]*\]/, '"signatures": []'), /signatures/],
    ['a signature that is not base64', (json) => json.replace(/"sig": "./, '"sig": "!'), /the signature: .*base64/],
    ['a signature that is not DER', (json) => json.replace(/"sig": "./, '"sig": "A'), /the signature: .*DER/],
    ['a payload that is not base64', (json) => json.replace(/"payload": "./, '"payload": "!'), /the payload: .*base64/],
    [
      'a payload that is no statement',
      (json) => json.replace(/"payload": "[^"]*"/, '"payload": "e30="'),
      /not the one/,
    ],
  ])('refuses a bundle with %s', async (_, edit, reason) => {
    const json = text(files.get(SIGNATURE_FILE)!);
    expect(edit(json)).not.toBe(json);
    expect(await refusal(withSignature(edit(json)))).toMatch(reason);
  });

  test('refuses text behind an invalid UTF-8 byte', async () => {
    const bytes = new Uint8Array(files.get(SIGNATURE_FILE)!);
    bytes[bytes.length - 1] = 0xff;
    expect(await refusal(withSignature(bytes))).toBe(`${SIGNATURE_FILE}: expected UTF-8 text, got other bytes`);
  });

  test('throws when asked to sign an incomplete release', async () => {
    await expect(signRelease(new Map(), key, subtle)).rejects.toThrow('fingerprint.json: the file is missing');
  });
});
