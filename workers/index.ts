/** The worker: every route of src/api with its handler, and one place where errors become answers. */
import { Hono } from 'hono';
import { openApi } from '../src/api/open-api.ts';
import type { Route } from '../src/api/route.ts';
import { routes } from '../src/api/routes.ts';
import { servableModel } from './guard-policy.ts';
import { alertsObject } from './alerts.ts';
import { authorize } from './auth.ts';
import { classify, classifyBatch } from './classify.ts';
import { consoleApp } from './console/app.ts';
import { docs } from './docs.ts';
import type { Env } from './env.ts';
import {
  acknowledgeAlert,
  alertImage,
  endSilence,
  listAlerts,
  listSilences,
  listSinks,
  liveAlerts,
  resolveAlert,
  silenceAlerts,
} from './handlers/alerts.ts';
import { hfClassify } from './faces/hugging-face.ts';
import {
  inferenceLive,
  inferenceReady,
  infer,
  modelMetadata,
  modelReady,
  serverMetadata,
} from './faces/open-inference.ts';
import { modelStatus, tfClassify, tfPredict } from './faces/tensorflow-serving.ts';
import { metrics } from './handlers/metrics.ts';
import { listReleases, putRelease } from './handlers/releases.ts';
import { retroHunt } from './handlers/retro-hunt.ts';
import { getHealth, getRollout, operateRollout, postRollout } from './handlers/rollouts.ts';
import { drain, expectBoundedRequest, Refusal, requestIdOf, secureHeaders, type Call, type Variables } from './http.ts';
import { logRequest } from './log.ts';
import { watchMatchRate } from './match-rate.ts';
import { changeRollout } from './rollout.ts';

export { AlertsObject } from './alerts/object.ts';
export { HealthObject } from './health-object.ts';
export { ActivationsObject } from './retro-hunt/object.ts';
export { RolloutObject } from './rollout.ts';

async function ready(c: Call): Promise<Response> {
  const model = await servableModel(c);
  if (!model.ok) throw new Refusal(503, 'not_ready', `not ready: ${model.error}`);
  return c.json({ status: 'ready' });
}

const handlers: Record<keyof typeof routes, (c: Call) => Response | Promise<Response>> = {
  health: (c) => c.json({ status: 'alive' }),
  ready,
  openApi: (c) => c.json(openApi()),
  docs,
  putRelease,
  listReleases,
  postRollout,
  getRollout,
  operateRollout,
  getHealth,
  classify,
  classifyBatch,
  listAlerts,
  liveAlerts,
  acknowledgeAlert,
  resolveAlert,
  alertImage,
  silenceAlerts,
  listSilences,
  endSilence,
  listSinks,
  inferenceLive,
  inferenceReady,
  serverMetadata,
  modelMetadata,
  modelVersionMetadata: modelMetadata,
  modelReady,
  modelVersionReady: modelReady,
  infer,
  inferVersion: infer,
  hfClassify,
  modelStatus,
  modelVersionStatus: modelStatus,
  tfPredict,
  tfPredictVersion: tfPredict,
  tfClassify,
  tfClassifyVersion: tfClassify,
  metrics,
  retroHunt,
};

const app = new Hono<{ Bindings: Env; Variables: Variables }>();

app.use(async (c, next) => {
  c.set('requestId', requestIdOf(c.req.raw));
  const startedAtMs = Date.now();
  await next();
  await drain(c.req.raw);
  // An upgrade to a socket is no page, and its headers may be the object's, which cannot be changed.
  if (c.res.status !== 101) secureHeaders(c.res.headers, c.get('requestId'));
  logRequest(c, Date.now() - startedAtMs);
});

app.use(async (c, next) => {
  expectBoundedRequest(c.req.raw);
  await next();
});

/** A path as Hono takes it; a verb behind a parameter (`{model}:predict`) belongs to the parameter there. */
const patternOf = (path: string): string =>
  path.replaceAll(/\{(\w+)\}(:\w+)?/g, (_, name: string, verb?: string) =>
    verb === undefined ? `:${name}` : `:${name}{[^/:]+${verb}}`,
  );

for (const [id, route] of Object.entries<Route>(routes)) {
  app.on(route.method.toUpperCase(), patternOf(route.path), async (c) => {
    c.set('operation', id);
    c.set('plainErrors', route.plainErrors === true);
    if (route.roles.length) c.set('actor', await authorize(c.req.raw, c.env, route.roles));
    return handlers[id as keyof typeof routes](c);
  });
}

app.route('/console', consoleApp);
app.get('/console/', (c) => c.redirect('/console', 301));

const INTERNAL = 'internal';

function failed(c: Call, { status, code, message, headers }: Refusal): Response {
  if (code !== INTERNAL) c.set('failure', code);
  const error = c.get('plainErrors') ? message : { code, message, requestId: c.get('requestId') };
  return c.json({ error }, status, headers);
}

app.notFound((c) => failed(c, new Refusal(404, 'not_found', `no route ${c.req.method} ${c.req.path.slice(0, 200)}`)));

app.onError((error, c) => {
  if (error instanceof Refusal) return failed(c, error);
  c.set('failure', error.stack ?? String(error));
  return failed(c, new Refusal(500, INTERNAL, 'something went wrong here; the request id finds it in the logs'));
});

/** Every minute. */
async function scheduled(_: ScheduledController, env: Env, waiter: ExecutionContext): Promise<void> {
  await Promise.all([
    changeRollout(env, waiter, { type: 'tick' }),
    watchMatchRate(env, waiter),
    alertsObject(env).wake(),
  ]);
}

export default { fetch: app.fetch, scheduled } satisfies ExportedHandler<Env>;
