/** What opens a worker: the publisher's ECDSA P-256 key pair, the private key as PKCS #8 PEM in one file, the public key as SPKI PEM beside it in `<file>.pub`; and bearer tokens. */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  type KeyObject,
} from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { SigningKey } from '../src/release/signature.ts';
import { failure, success, type Result } from '../src/result.ts';
import { isTaken } from './directory.ts';

/** The signing key in a file; when there is none, a new one is made (mode 0600), and its public key written to `<file>.pub`. */
export async function loadOrCreateKey(file: string): Promise<Result<SigningKey>> {
  const pem = await readOptional(file);
  if (!pem.ok) return pem;
  return pem.value === undefined ? writeKey(file) : parsePrivateKey(file, pem.value);
}

/** A new signing key in a new file (mode 0600), and its public key in `<file>.pub`; refuses to replace either. */
export async function createKey(file: string): Promise<Result<SigningKey>> {
  for (const path of [file, `${file}.pub`]) if (await isTaken(path)) return failure(`${path}: expected a new file`);
  return writeKey(file);
}

async function writeKey(file: string): Promise<Result<SigningKey>> {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  try {
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600, flag: 'wx' });
    await writeFile(`${file}.pub`, publicKey.export({ type: 'spki', format: 'pem' }));
  } catch (error) {
    return failure(`${file}: the key cannot be written (${(error as Error).message})`);
  }
  return success(toSigningKey(privateKey));
}

/** The public key (SPKI, DER) in a PEM file. */
export async function loadPublicKey(file: string): Promise<Result<Uint8Array>> {
  const pem = await readOptional(file);
  if (!pem.ok) return pem;
  if (pem.value === undefined) return failure(`${file}: no such file, expected a public key as PEM`);
  if (!pem.value.includes('-----BEGIN PUBLIC KEY-----')) return failure(`${file}: expected a public key as PEM`);
  const key = parse(() => createPublicKey(pem.value!));
  return key ? success(toSpki(key)) : failure(`${file}: expected an ECDSA P-256 public key as PEM`);
}

/** A fresh random bearer token (256 bits, base64url) and its SHA-256 (hexadecimal), which is all that a worker needs to know. */
export function createToken(): { token: string; sha256: string } {
  const token = randomBytes(32).toString('base64url');
  return { token, sha256: createHash('sha256').update(token).digest('hex') };
}

function parsePrivateKey(file: string, pem: string): Result<SigningKey> {
  const key = parse(() => createPrivateKey(pem));
  return key ? success(toSigningKey(key)) : failure(`${file}: expected an ECDSA P-256 private key as PKCS #8 PEM`);
}

/** The key if it can be read and is on the curve P-256. */
function parse(read: () => KeyObject): KeyObject | undefined {
  try {
    const key = read();
    return key.asymmetricKeyDetails?.namedCurve === 'prime256v1' ? key : undefined;
  } catch {
    return undefined;
  }
}

const toSpki = (publicKey: KeyObject): Uint8Array => new Uint8Array(publicKey.export({ type: 'spki', format: 'der' }));

function toSigningKey(key: KeyObject): SigningKey {
  const privateKey = key.toCryptoKey({ name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign']);
  return { privateKey, publicKey: toSpki(createPublicKey(key)) };
}

async function readOptional(file: string): Promise<Result<string | undefined>> {
  try {
    return success(await readFile(file, 'utf8'));
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return code === 'ENOENT' ? success(undefined) : failure(`${file}: cannot be read (${message})`);
  }
}
