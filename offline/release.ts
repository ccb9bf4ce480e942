/** Release directories: written signed and whole, read within limits. */
import { encodeRelease, openRelease, RELEASE_LIMITS_BYTES, type ReleaseContent } from '../src/release/release.ts';
import { SIGNATURE_FILE } from '../src/release/manifest.ts';
import { signRelease, type SigningKey } from '../src/release/signature.ts';
import { success, type Result } from '../src/result.ts';
import { readDirectory, writeDirectory } from './directory.ts';

const { subtle } = crypto;

/**
 * Signs a release and writes its five files into a new or empty directory, all or none; returns its digest (64 hex digits).
 * The files are opened once as a worker would open them, so that what would be refused there fails here.
 */
export async function writeRelease(
  directory: string,
  content: ReleaseContent,
  key: SigningKey,
): Promise<Result<{ digest: string }>> {
  const files = encodeRelease(content);
  files.set(SIGNATURE_FILE, await signRelease(files, key, subtle));
  const now = new Date(content.manifest.createdAt);
  const opened = await openRelease(files, { trustedKeys: [key.publicKey], now, subtle });
  if (!opened.ok) return opened;
  const written = await writeDirectory(directory, files);
  return written.ok ? success({ digest: opened.value.digest }) : written;
}

/** Reads the files of a release directory without judging their content; the error names the file that does not belong, is a link, or is too large. */
export const readReleaseFiles = (directory: string): Promise<Result<Map<string, Uint8Array>>> =>
  readDirectory(directory, RELEASE_LIMITS_BYTES);
