/** Releases over HTTP. */
import type * as z from 'zod';
import type { releaseResponse, releasesResponse } from '../../src/api/releases.ts';
import { BODY_LIMIT_BYTES, digestSchema } from '../../src/api/route.ts';
import { RELEASE_FILES, SIGNATURE_FILE } from '../../src/release/manifest.ts';
import { expectMediaType, firstIssue, readBody, Refusal, type Call } from '../http.ts';
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

/** Every part begins with a line that begins with two dashes; the bytes of weights may look like some more. */
const DASHED_LINES_MAX = 256;

/** How many lines begin with two dashes. A parser makes an object of every part, so that tiny ones would take many times their bytes. */
function dashedLines(body: Uint8Array): number {
  const [newline, dash] = [0x0a, 0x2d];
  let count = 0;
  for (let at = body.indexOf(newline); at !== -1; at = body.indexOf(newline, at + 1)) {
    if (body[at + 1] === dash && body[at + 2] === dash) count += 1;
  }
  return count;
}

/** The files of a multipart body: exactly one part for each file of a release. */
async function releaseParts(request: Request): Promise<Map<string, Uint8Array>> {
  expectMediaType(request, ['multipart/form-data']);
  const body = await readBody(request, BODY_LIMIT_BYTES.release);
  const type = request.headers.get('content-type')!;
  const names: readonly string[] = [...RELEASE_FILES, SIGNATURE_FILE];
  if (dashedLines(body) > DASHED_LINES_MAX) {
    throw new Refusal(422, 'invalid_request', `body: expected at most ${names.length} parts, got more`);
  }
  const form = await new Response(body, { headers: { 'content-type': type } }).formData().catch(() => undefined);
  if (!form) throw new Refusal(400, 'invalid_body', 'body: expected multipart/form-data');
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
