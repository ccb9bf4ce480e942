/** The operator's routes: releases, rollouts and alerts. */
import type * as z from 'zod';
import { alertsQuery, type alertsResponse } from '../src/api/alerts.ts';
import type { releaseResponse, releasesResponse } from '../src/api/releases.ts';
import { rolloutRequest, type rolloutResponse } from '../src/api/rollout.ts';
import { BODY_LIMIT_BYTES, digestSchema } from '../src/api/route.ts';
import { RELEASE_FILES, SIGNATURE_FILE } from '../src/release/manifest.ts';
import { readAlerts } from './alerts.ts';
import { expectMediaType, firstIssue, parseJson, readBody, Refusal, type Call } from './http.ts';
import {
  noteRollout,
  readRelease,
  releaseExists,
  releaseModel,
  storedReleases,
  storeRelease,
  verifyFiles,
} from './releases.ts';
import { changeRollout, readRollout } from './rollout.ts';

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
  expectMediaType(request, ['multipart/form-data']);
  const body = await readBody(request, BODY_LIMIT_BYTES.release);
  const type = request.headers.get('content-type')!;
  const form = await new Response(body, { headers: { 'content-type': type } }).formData().catch(() => undefined);
  if (!form) throw new Refusal(400, 'invalid_body', 'body: expected multipart/form-data');
  const names: readonly string[] = [...RELEASE_FILES, SIGNATURE_FILE];
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

/** POST /v1/rollouts: the release is read back from R2 and loaded here first, so that a bad one is refused before any isolate hears of it. */
export async function postRollout(c: Call): Promise<Response> {
  expectMediaType(c.req.raw, ['application/json']);
  const { digest, reason } = parseJson(await readBody(c.req.raw, BODY_LIMIT_BYTES.json), rolloutRequest);
  if (!(await releaseExists(c.env, digest))) {
    throw new Refusal(404, 'unknown_release', `digest: no release ${digest} is stored`);
  }
  const release = await readRelease(c.env, digest);
  const model = release.ok ? await releaseModel(c.env, c.executionCtx, digest) : release;
  if (!model.ok) throw new Refusal(422, 'release_refused', model.error);
  const rollout = await changeRollout(c.env, { type: 'activate', digest, actor: c.get('actor'), reason });
  noteRollout(rollout);
  return c.json(rollout satisfies z.infer<typeof rolloutResponse>);
}

/** GET /v1/rollouts */
export async function getRollout(c: Call): Promise<Response> {
  const rollout = await readRollout(c.env);
  return c.json(rollout satisfies z.infer<typeof rolloutResponse>);
}

/** GET /v1/alerts */
export async function listAlerts(c: Call): Promise<Response> {
  const query = alertsQuery.safeParse(c.req.query());
  if (!query.success) throw new Refusal(400, 'invalid_request', `query: ${firstIssue(query.error)}`);
  const body: z.infer<typeof alertsResponse> = await readAlerts(c.env, query.data.limit, query.data.cursor);
  return c.json(body);
}
