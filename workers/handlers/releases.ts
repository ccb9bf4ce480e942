/** Releases over HTTP. */
import type * as z from 'zod';
import type { releaseResponse, releasesResponse } from '../../src/api/releases.ts';
import { BODY_LIMIT_BYTES, digestSchema } from '../../src/api/route.ts';
import { RELEASE_FILES, SIGNATURE_FILE } from '../../src/release/manifest.ts';
import { readForm } from '../form.ts';
import { firstIssue, Refusal, type Call } from '../http.ts';
import { storedReleases, storeRelease, verifyFiles } from '../releases.ts';
import { readRollout } from '../rollout.ts';

/** PUT /v1/releases/{digest} */
export async function putRelease(c: Call): Promise<Response> {
  const digest = digestSchema.safeParse(c.req.param('digest'));
  if (!digest.success) throw new Refusal(400, 'invalid_digest', `digest: ${firstIssue(digest.error)}`);
  const files = await releaseParts(c.req.raw);
  const release = await verifyFiles(c.env, files, digest.data);
  if (!release.ok) throw new Refusal(422, 'release_refused', release.error);
  const { stored, created } = await storeRelease(c.env, release.value, files);
  const { stable } = await readRollout(c.env);
  const body: z.infer<typeof releaseResponse> = { digest: digest.data, ...stored, active: stable === digest.data };
  return c.json(body, created ? 201 : 200);
}

/** The files of a multipart body: exactly one part for each file of a release. */
async function releaseParts(request: Request): Promise<Map<string, Uint8Array>> {
  const names: readonly string[] = [...RELEASE_FILES, SIGNATURE_FILE];
  const form = await readForm(request, 'multipart/form-data', BODY_LIMIT_BYTES.release, names.length);
  const files = new Map<string, Uint8Array>();
  for (const [name, part] of form) {
    const shown = JSON.stringify(name.slice(0, 100));
    if (!names.includes(name))
      throw new Refusal(422, 'invalid_request', `body: part ${shown} is not a file of a release`);
    if (files.has(name)) throw new Refusal(422, 'invalid_request', `body: part ${shown} comes twice`);
    if (typeof part === 'string') throw new Refusal(422, 'invalid_request', `body: part ${shown} is not a file`);
    files.set(name, new Uint8Array(await part.arrayBuffer()));
  }
  const missing = names.find((name) => !files.has(name));
  if (missing) throw new Refusal(422, 'invalid_request', `body: part "${missing}" is missing`);
  return files;
}

/** GET /v1/releases */
export async function listReleases(c: Call): Promise<Response> {
  const [releases, { stable }] = await Promise.all([storedReleases(c.env), readRollout(c.env)]);
  const body: z.infer<typeof releasesResponse> = {
    releases: releases.map((release) => ({ ...release, active: release.digest === stable })),
  };
  return c.json(body);
}
