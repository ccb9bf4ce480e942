import { beforeAll, describe, expect, test } from 'vitest';
import { openRelease } from '../../src/release/release.ts';
import type { SigningKey } from '../../src/release/signature.ts';
import { createKey, signedRelease, testContent } from '../support/release.ts';

const { subtle } = crypto;
const now = new Date('2026-06-01T00:00:00Z');
let key: SigningKey;
beforeAll(async () => {
  key = await createKey();
});

describe('openRelease', () => {
  test('gives back the content that was encoded and signed', async () => {
    const content = testContent(7);
    const { files, digest } = await signedRelease(key, content);
    const opened = await openRelease(files, { trustedKeys: [key.publicKey], expectedDigest: digest, now, subtle });
    expect(opened).toMatchObject({ ok: true, value: { ...content, digest } });
  });
});
