/**
 * The signature of a release: OpenSSF Model Signing v1.0 (https://github.com/sigstore/model-transparency), so that its own
 * tool and any Sigstore library can verify a release. A Sigstore bundle v0.3 holds a DSSE envelope (ECDSA P-256 with SHA-256)
 * over an in-toto statement that lists the SHA-256 of every file.
 *
 * What differs from the format: a release has one encoding only. The statement follows from the files, and the bundle from the statement,
 * the key's hint and the signature; `verifySignature` builds both again and refuses any other bytes, so that a changed
 * byte is refused even where a JSON parser would not see it.
 */
import * as z from 'zod';
import { failure, success, type Result } from '../result.ts';
import { signatureFromDer, signatureToDer } from './ecdsa.ts';
import { decodeBase64, decodeJson, encodeBase64, encodeHex, encodeText, publicKeyPem, sameBytes } from './encoding.ts';
import { RELEASE_FILES, SIGNATURE_FILE } from './manifest.ts';

const ECDSA = { name: 'ECDSA', hash: 'SHA-256' } as const;
const P256 = { name: 'ECDSA', namedCurve: 'P-256' } as const;

/** The part of WebCrypto's SubtleCrypto that signatures need; `crypto.subtle` fits in Node and at the edge. */
export type Subtle = {
  digest(algorithm: 'SHA-256', data: Uint8Array): Promise<ArrayBuffer>;
  importKey(
    format: 'spki',
    key: Uint8Array,
    algorithm: typeof P256,
    extractable: boolean,
    usages: ['verify'],
  ): Promise<unknown>;
  sign(algorithm: typeof ECDSA, key: unknown, data: Uint8Array): Promise<ArrayBuffer>;
  verify(algorithm: typeof ECDSA, key: unknown, signature: Uint8Array, data: Uint8Array): Promise<boolean>;
};

/** An ECDSA P-256 key pair: WebCrypto's private key, and the public key as SPKI (DER). */
export type SigningKey = { privateKey: unknown; publicKey: Uint8Array };

/** The files of a release by name. */
export type ReleaseFiles = ReadonlyMap<string, Uint8Array>;

const PAYLOAD_TYPE = 'application/vnd.in-toto+json';
const BUNDLE_TYPE = 'application/vnd.dev.sigstore.bundle.v0.3+json';
const sha256 = z.string().regex(/^[0-9a-f]{64}$/);

const statementSchema = z.object({
  predicate: z.object({ resources: z.array(z.object({ name: z.string(), digest: z.string() })) }),
});
const bundleSchema = z.object({
  verificationMaterial: z.object({ publicKey: z.object({ hint: sha256 }) }),
  dsseEnvelope: z.object({ payload: z.string(), signatures: z.tuple([z.object({ sig: z.string() })]) }),
});

type Resource = { name: string; algorithm: 'sha256'; digest: string };

const hash = async (bytes: Uint8Array, subtle: Subtle): Promise<Uint8Array> =>
  new Uint8Array(await subtle.digest('SHA-256', bytes));

/** Names the first release file that is missing or does not belong; the signature file may be there or not. */
function checkNames(files: ReleaseFiles): Result<null> {
  const missing = RELEASE_FILES.find((name) => !files.has(name));
  if (missing) return failure(`${missing}: the file is missing from the release`);
  const known: readonly string[] = [...RELEASE_FILES, SIGNATURE_FILE];
  const extra = [...files.keys()].find((name) => !known.includes(name));
  return extra === undefined ? success(null) : failure(`${extra}: the file does not belong in a release`);
}

async function measure(files: ReleaseFiles, subtle: Subtle): Promise<{ digest: string; resources: Resource[] }> {
  const digests = await Promise.all(RELEASE_FILES.map((name) => hash(files.get(name)!, subtle)));
  const resources = RELEASE_FILES.map((name, index) => {
    return { name, algorithm: 'sha256' as const, digest: encodeHex(digests[index]!) };
  });
  const joined = Uint8Array.from(digests.flatMap((digest) => [...digest]));
  return { digest: encodeHex(await hash(joined, subtle)), resources };
}

/** The in-toto statement (UTF-8 JSON) that is signed for these file digests, listed in the order of their names. */
function encodeStatement(digest: string, resources: readonly Resource[]): Uint8Array {
  const serialization = {
    method: 'files',
    hash_type: 'sha256',
    allow_symlinks: false,
    ignore_paths: [SIGNATURE_FILE],
  };
  return encodeText(
    JSON.stringify({
      _type: 'https://in-toto.io/Statement/v1',
      subject: [{ name: 'trigger-guard-release', digest: { sha256: digest } }],
      predicateType: 'https://model_signing/signature/v1.0',
      predicate: { serialization, resources },
    }),
  );
}

function encodeBundle(statement: Uint8Array, keyHint: string, derSignature: Uint8Array): Uint8Array {
  const bundle = {
    mediaType: BUNDLE_TYPE,
    verificationMaterial: { publicKey: { hint: keyHint }, tlogEntries: [] },
    dsseEnvelope: {
      payload: encodeBase64(statement),
      payloadType: PAYLOAD_TYPE,
      signatures: [{ sig: encodeBase64(derSignature), keyid: '' }],
    },
  };
  return encodeText(`${JSON.stringify(bundle, null, 2)}\n`);
}

/** The bytes that DSSE signs: its pre-authentication encoding (https://github.com/secure-systems-lab/dsse, protocol.md). */
function preAuthenticationEncoding(payload: Uint8Array): Uint8Array {
  const header = encodeText(`DSSEv1 ${PAYLOAD_TYPE.length} ${PAYLOAD_TYPE} ${payload.length} `);
  const encoded = new Uint8Array(header.length + payload.length);
  encoded.set(header);
  encoded.set(payload, header.length);
  return encoded;
}

/** How a bundle names a public key (SPKI, DER): the SHA-256, in hex, of its PEM text, which is what the model_signing tool compares. */
export const keyHint = async (publicKey: Uint8Array, subtle: Subtle): Promise<string> =>
  encodeHex(await hash(encodeText(publicKeyPem(publicKey)), subtle));

/** The digest of a release, 64 hex digits: the SHA-256 of the files' SHA-256 digests joined in the order of their names. */
export async function releaseDigest(files: ReleaseFiles, subtle: Subtle): Promise<Result<string>> {
  const names = checkNames(files);
  return names.ok ? success((await measure(files, subtle)).digest) : names;
}

/** Signs the files of a release and returns the content of `signature.sigstore.json`; throws when a file is missing or does not belong. */
export async function signRelease(files: ReleaseFiles, key: SigningKey, subtle: Subtle): Promise<Uint8Array> {
  const names = checkNames(files);
  if (!names.ok) throw new Error(names.error);
  const { digest, resources } = await measure(files, subtle);
  const statement = encodeStatement(digest, resources);
  const signature = await subtle.sign(ECDSA, key.privateKey, preAuthenticationEncoding(statement));
  return encodeBundle(statement, await keyHint(key.publicKey, subtle), signatureToDer(new Uint8Array(signature)));
}

/** Says which file differs from what the statement lists, or that the statement itself is not the one for these files. */
function explainStatement(payload: Uint8Array, resources: readonly Resource[]): string {
  const json = decodeJson(payload);
  const statement = statementSchema.safeParse(json.ok ? json.value : undefined);
  const listed = statement.success ? statement.data.predicate.resources : [];
  const wrong = resources.find(({ name, digest }) =>
    listed.some((item) => item.name === name && item.digest !== digest),
  );
  return wrong
    ? `${wrong.name}: the digest does not match the signature`
    : `${SIGNATURE_FILE}: the signed statement is not the one that describes this release`;
}

/**
 * Verifies that the five files of a release are exactly what the holder of a trusted key signed. `trustedKeys` are public keys
 * (SPKI, DER). The error names the file that is missing, does not belong, or differs, or says what the signature lacks.
 */
export async function verifySignature(
  files: ReleaseFiles,
  trustedKeys: readonly Uint8Array[],
  subtle: Subtle,
): Promise<Result<{ digest: string; keyHint: string }>> {
  const refuse = (reason: string) => failure(`${SIGNATURE_FILE}: ${reason}`);
  const names = checkNames(files);
  if (!names.ok) return names;
  const bytes = files.get(SIGNATURE_FILE);
  if (!bytes) return refuse('the file is missing from the release');
  const json = decodeJson(bytes);
  if (!json.ok) return refuse(json.error);
  const bundle = bundleSchema.safeParse(json.value);
  if (!bundle.success) return refuse(z.prettifyError(bundle.error).replaceAll(/\s+/g, ' '));

  const { hint } = bundle.data.verificationMaterial.publicKey;
  const { payload, signatures } = bundle.data.dsseEnvelope;
  const { digest, resources } = await measure(files, subtle);
  const statement = encodeStatement(digest, resources);
  const signed = decodeBase64(payload);
  if (!signed.ok) return refuse(`the payload: ${signed.error}`);
  if (!sameBytes(signed.value, statement)) return failure(explainStatement(signed.value, resources));
  const der = decodeBase64(signatures[0].sig);
  if (!der.ok) return refuse(`the signature: ${der.error}`);
  const signature = signatureFromDer(der.value);
  if (!signature.ok) return refuse(`the signature: ${signature.error}`);
  if (!sameBytes(bytes, encodeBundle(statement, hint, der.value))) {
    return refuse('the bundle is not in the one encoding that a release has');
  }

  const hints = await Promise.all(trustedKeys.map((key) => keyHint(key, subtle)));
  const trusted = trustedKeys[hints.indexOf(hint)];
  if (!trusted) return refuse(`signed with key ${hint}, which is not one of the ${trustedKeys.length} trusted keys`);
  const valid = await subtle
    .importKey('spki', trusted, P256, false, ['verify'])
    .then((key) => subtle.verify(ECDSA, key, signature.value, preAuthenticationEncoding(statement)))
    .catch(() => undefined);
  if (valid === undefined) return refuse(`the trusted key ${hint} is not an ECDSA P-256 public key`);
  return valid ? success({ digest, keyHint: hint }) : refuse(`the signature does not verify with key ${hint}`);
}
