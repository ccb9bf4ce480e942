/** Rollouts over HTTP. */
import type * as z from 'zod';
import { BODY_LIMIT_BYTES } from '../../src/api/route.ts';
import {
  healthQuery,
  operationRequest,
  rolloutRequest,
  type healthResponse,
  type rolloutResponse,
} from '../../src/api/rollout.ts';
import { DEFAULT_PLAN } from '../../src/rollout/plan.ts';
import type { Operation } from '../../src/rollout/rollout.ts';
import { phaseOf, servingOf, type Rollout } from '../../src/rollout/state.ts';
import { readHealth } from '../health-object.ts';
import { expectMediaType, firstIssue, parseJson, readBody, Refusal, type Call } from '../http.ts';
import { readRelease, releaseExists, releaseModel } from '../releases.ts';
import { changeRollout, readRollout, type RolloutCommand } from '../rollout.ts';
import { noteServing } from '../serving.ts';

/** POST /v1/rollouts */
export async function postRollout(c: Call): Promise<Response> {
  return answer(c, await startRollout(c, await jsonBody(c, rolloutRequest)));
}

/** Starts a release as the caller: it is read back from R2 and loaded here first, so that a bad one is refused before any isolate hears of it. */
export async function startRollout(c: Call, request: z.infer<typeof rolloutRequest>): Promise<Rollout> {
  const { digest, canaryPercent, plan = DEFAULT_PLAN, reason, expectedRevision } = request;
  if (!(await releaseExists(c.env, digest))) {
    throw new Refusal(404, 'unknown_release', `digest: no release ${digest} is stored`);
  }
  await expectLoadable(c, digest);
  const said = { digest, actor: c.get('actor'), reason, expectedRevision };
  return change(c, canaryPercent === 100 ? { type: 'activate', ...said } : { type: 'start', plan, ...said });
}

/** POST /v1/rollouts/operations */
export async function operateRollout(c: Call): Promise<Response> {
  return answer(c, await applyOperation(c, await jsonBody(c, operationRequest)));
}

/** Operates the rollout as the caller: a release that would serve everybody is loaded here first. */
export async function applyOperation(c: Call, request: z.infer<typeof operationRequest>): Promise<Rollout> {
  const { operation, reason, expectedRevision } = request;
  const next = stableAfter(await readRollout(c.env), operation);
  if (next) await expectLoadable(c, next);
  return change(c, { type: operation, actor: c.get('actor'), reason, expectedRevision });
}

function stableAfter({ canary, previousStable }: Rollout, operation: Operation): string | null | undefined {
  if (operation === 'promote') return canary?.digest;
  return operation === 'undo' || (operation === 'roll-back' && !canary) ? previousStable : undefined;
}

async function jsonBody<T>(c: Call, schema: z.ZodType<T>): Promise<T> {
  expectMediaType(c.req.raw, ['application/json']);
  return parseJson(await readBody(c.req.raw, BODY_LIMIT_BYTES.json), schema);
}

async function expectLoadable(c: Call, digest: string): Promise<void> {
  const release = await readRelease(c.env, digest);
  const model = release.ok ? await releaseModel(c.env, c.executionCtx, digest) : release;
  if (!model.ok) throw new Refusal(422, 'release_refused', model.error);
}

async function change(c: Call, command: RolloutCommand): Promise<Rollout> {
  const askedAtMs = Date.now();
  const changed = await changeRollout(c.env, c.executionCtx, command);
  if (!changed.ok) throw new Refusal(409, 'rollout_conflict', changed.error);
  noteServing(servingOf(changed.value), askedAtMs);
  return changed.value;
}

function answer(c: Call, rollout: Rollout): Response {
  const { version: _, untold: __, ...shown } = rollout;
  const body: z.infer<typeof rolloutResponse> = { ...shown, phase: phaseOf(rollout) };
  return c.json(body);
}

/** GET /v1/rollouts */
export async function getRollout(c: Call): Promise<Response> {
  return answer(c, await readRollout(c.env));
}

/** GET /v1/health */
export async function getHealth(c: Call): Promise<Response> {
  const query = healthQuery.safeParse(c.req.query());
  if (!query.success) throw new Refusal(400, 'invalid_request', `query: ${firstIssue(query.error)}`);
  const { releases, series } = await readHealth(c.env, query.data.minutes);
  const instant = (ms: number): string => new Date(ms).toISOString();
  const body: z.infer<typeof healthResponse> = {
    releases: releases.map(({ firstSeenMs, ...release }) => ({ ...release, firstSeen: instant(firstSeenMs) })),
    series: series.map(({ minuteMs, ...entry }) => ({ ...entry, minute: instant(minuteMs) })),
  };
  return c.json(body);
}
