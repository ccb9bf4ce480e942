/** Rollouts over HTTP. */
import type * as z from 'zod';
import { BODY_LIMIT_BYTES } from '../../src/api/route.ts';
import { rolloutRequest, type rolloutResponse } from '../../src/api/rollout.ts';
import { expectMediaType, parseJson, readBody, Refusal, type Call } from '../http.ts';
import { noteRollout, readRelease, releaseExists, releaseModel } from '../releases.ts';
import { changeRollout, readRollout } from '../rollout.ts';

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
