import { mkdir, readdir, readFile, symlink, truncate, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readReleaseFiles, writeRelease } from '../offline/release.ts';
import { SIGNATURE_FILE } from '../src/release/manifest.ts';
import { openRelease, RELEASE_LIMITS_BYTES } from '../src/release/release.ts';
import { testDirectory } from './support/directory.ts';
import { createKey, testContent } from './support/release.ts';

const key = await createKey();
const content = testContent();

async function written(): Promise<string> {
  const directory = join(await testDirectory(), 'release');
  const result = await writeRelease(directory, content, key);
  if (!result.ok) throw new Error(result.error);
  return directory;
}

async function refusal(directory: string): Promise<string> {
  const files = await readReleaseFiles(directory);
  return files.ok ? 'accepted' : files.error;
}

describe('a release directory', () => {
  test('holds the five files of the release, which open as the content that was written', async () => {
    const directory = await written();
    expect((await readdir(directory)).sort()).toEqual([...RELEASE_LIMITS_BYTES.keys()].sort());
    const files = await readReleaseFiles(directory);
    if (!files.ok) throw new Error(files.error);
    const now = new Date('2026-06-01T00:00:00Z');
    const opened = await openRelease(files.value, { trustedKeys: [key.publicKey], now, subtle: crypto.subtle });
    expect(opened).toMatchObject({ ok: true, value: content });
  });

  test('is written beside itself first, and nothing of that is left', async () => {
    expect(await readdir(dirname(await written()))).toEqual(['release']);
  });

  test('takes the place of an empty directory', async () => {
    const directory = join(await testDirectory(), 'release');
    await mkdir(directory);
    expect(await writeRelease(directory, content, key)).toMatchObject({ ok: true });
  });

  test('does NOT take the place of a release, of a directory that holds anything, or of a file', async () => {
    const directory = await written();
    const manifest = await readFile(join(directory, 'manifest.json'), 'utf8');
    const taken = { ok: false, error: `${directory}: expected a new or empty directory` };
    expect(await writeRelease(directory, testContent(2), key)).toEqual(taken);
    expect(await readFile(join(directory, 'manifest.json'), 'utf8')).toBe(manifest);
    expect(await readdir(dirname(directory))).toEqual(['release']);

    const file = join(dirname(directory), 'file');
    await writeFile(file, 'x');
    expect(await writeRelease(file, content, key)).toEqual({
      ok: false,
      error: `${file}: expected a new or empty directory`,
    });
    expect(await readFile(file, 'utf8')).toBe('x');
  });

  test('does NOT come to be when a worker would refuse it', async () => {
    const directory = join(await testDirectory(), 'release');
    const gate = { passed: false, forced: false, failures: ['it is still there'] };
    expect(await writeRelease(directory, { ...content, manifest: { ...content.manifest, gate } }, key)).toEqual({
      ok: false,
      error: 'manifest.json: the release did not pass its gate (it is still there)',
    });
    expect(await readdir(dirname(directory))).toEqual([]);
  });

  test('is refused when it is missing, and when it is a file', async () => {
    const directory = await written();
    expect(await refusal(join(directory, 'nowhere'))).toContain('nowhere: cannot be read');
    expect(await refusal(join(directory, 'manifest.json'))).toContain('manifest.json: cannot be read');
  });

  test('is refused with another file, a link or a folder in it', async () => {
    const extra = await written();
    await writeFile(join(extra, 'report.html'), '');
    expect(await refusal(extra)).toMatch(/report\.html: expected only fingerprint\.json, /);
    const linked = join(await testDirectory(), 'linked');
    await mkdir(linked);
    await symlink(join(extra, 'manifest.json'), join(linked, 'manifest.json'));
    expect(await refusal(linked)).toMatch(/manifest\.json: expected a plain file/);
    const folder = join(await testDirectory(), 'folder');
    await mkdir(join(folder, 'manifest.json'), { recursive: true });
    expect(await refusal(folder)).toMatch(/manifest\.json: expected a plain file/);
  });

  test.each([...RELEASE_LIMITS_BYTES])(
    'is refused with a %s of more than %i bytes, which is not read',
    async (name, limitBytes) => {
      const directory = await written();
      await truncate(join(directory, name), limitBytes + 1);
      expect(await refusal(directory)).toBe(
        `${join(directory, name)}: expected at most ${limitBytes} bytes, got ${limitBytes + 1}`,
      );
    },
  );

  test('is read without its signature when it has none, which opening it then refuses', async () => {
    const directory = join(await testDirectory(), 'unsigned');
    await mkdir(directory);
    await writeFile(join(directory, 'manifest.json'), '{}');
    const files = await readReleaseFiles(directory);
    expect(files.ok && [...files.value.keys()]).toEqual(['manifest.json']);
    expect(files.ok && files.value.has(SIGNATURE_FILE)).toBe(false);
  });
});
