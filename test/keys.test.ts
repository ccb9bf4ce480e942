import { createHash, generateKeyPairSync } from 'node:crypto';
import { readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { createKey, createToken, loadOrCreateKey, loadPublicKey } from '../offline/keys.ts';
import { verifySignature } from '../src/release/signature.ts';
import { testDirectory } from './support/directory.ts';
import { signedRelease } from './support/release.ts';

const pem = { type: 'pkcs8', format: 'pem' } as const;

async function created(file: string) {
  const key = await loadOrCreateKey(file);
  if (!key.ok) throw new Error(key.error);
  return key.value;
}

describe('loadOrCreateKey', () => {
  test('makes a key that only its owner can read, and later loads the same', async () => {
    const file = join(await testDirectory(), 'keys', 'publisher.pem');
    const { publicKey } = await created(file);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await readFile(file, 'utf8')).toMatch(/^-----BEGIN PRIVATE KEY-----\n/);
    expect((await created(file)).publicKey).toEqual(publicKey);
    expect(await loadPublicKey(`${file}.pub`)).toEqual({ ok: true, value: publicKey });
  });

  test('a key that was loaded signs what its public key verifies', async () => {
    const file = join(await testDirectory(), 'publisher.pem');
    const { publicKey } = await created(file);
    const { files, digest } = await signedRelease(await created(file));
    expect(await verifySignature(files, [publicKey], crypto.subtle)).toMatchObject({ ok: true, value: { digest } });
  });

  test.each([
    ['other text', 'hello'],
    ['a key on another curve', generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey.export(pem)],
    ['a key of another kind', generateKeyPairSync('ed25519').privateKey.export(pem)],
  ])('refuses %s and leaves the file as it is', async (_, text) => {
    const file = join(await testDirectory(), 'publisher.pem');
    await writeFile(file, text);
    const error = `${file}: expected an ECDSA P-256 private key as PKCS #8 PEM`;
    expect(await loadOrCreateKey(file)).toEqual({ ok: false, error });
    expect(await readFile(file, 'utf8')).toBe(text);
  });

  test('says so when the file can be neither read nor written', async () => {
    const directory = await testDirectory();
    const refusal = async (file: string): Promise<string> => {
      const key = await loadOrCreateKey(file);
      return key.ok ? 'accepted' : key.error;
    };
    expect(await refusal(directory)).toContain('cannot be read');
    await writeFile(join(directory, 'file'), '');
    expect(await refusal(join(directory, 'file', 'key.pem'))).toContain('key.pem: cannot be');
  });
});

describe('createKey', () => {
  test('makes a key that later loads, only its owner can read, and never replaces a private or public key', async () => {
    const file = join(await testDirectory(), 'keys', 'publisher.pem');
    const key = await createKey(file);
    const loaded = await loadOrCreateKey(file);
    expect(loaded.ok && loaded.value.publicKey).toEqual(key.ok && key.value.publicKey);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    const text = await readFile(file, 'utf8');
    expect(await createKey(file)).toEqual({ ok: false, error: `${file}: expected a new file` });
    await rm(file);
    expect(await createKey(file)).toEqual({ ok: false, error: `${file}.pub: expected a new file` });
    await writeFile(file, text);
    await rm(`${file}.pub`);
    expect(await createKey(file)).toEqual({ ok: false, error: `${file}: expected a new file` });
    expect(await readFile(file, 'utf8')).toBe(text);
  });
});

test('createToken makes another token each time, with its SHA-256', () => {
  const [first, second] = [createToken(), createToken()];
  expect(first.token).toMatch(/^[\w-]{43}$/);
  expect(second.token).not.toBe(first.token);
  expect(first.sha256).toBe(createHash('sha256').update(first.token).digest('hex'));
});

describe('loadPublicKey', () => {
  test('refuses a missing file, other text, a private key, and a key on another curve', async () => {
    const file = join(await testDirectory(), 'key.pem');
    const refusal = async (): Promise<string> => {
      const key = await loadPublicKey(file);
      return key.ok ? 'accepted' : key.error;
    };
    expect(await refusal()).toBe(`${file}: no such file, expected a public key as PEM`);
    await writeFile(file, 'hello');
    expect(await refusal()).toBe(`${file}: expected a public key as PEM`);
    const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    await writeFile(file, p256.privateKey.export(pem));
    expect(await refusal()).toBe(`${file}: expected a public key as PEM`);
    const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' });
    await writeFile(file, p384.publicKey.export({ type: 'spki', format: 'pem' }));
    expect(await refusal()).toBe(`${file}: expected an ECDSA P-256 public key as PEM`);
  });
});
