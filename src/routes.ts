/** Every route of the HTTP API as data: the worker serves exactly these, and the OpenAPI document is made of them. */
import * as z from 'zod';
import {
  alertsQuery,
  alertsResponse,
  BATCH_LIMIT,
  batchRequest,
  batchResponse,
  classifyRequest,
  classifyResponse,
  digestSchema,
  errorResponse,
  releaseResponse,
  releasesResponse,
  rolloutRequest,
  rolloutResponse,
  statusResponse,
  type Role,
} from './api.ts';
import { RELEASE_FILES, SIGNATURE_FILE } from './release/manifest.ts';

type Content = z.ZodType | 'binary' | 'any';
export type Route = {
  method: 'get' | 'put' | 'post';
  path: string;
  summary: string;
  /** Who may call it; nobody named: everybody. */
  roles: readonly Role[];
  request?: Readonly<Record<string, Content>>;
  query?: z.ZodObject;
  status: number;
  response: Content;
  errors: readonly number[];
};

const releaseParts = z.strictObject(
  Object.fromEntries([...RELEASE_FILES, SIGNATURE_FILE].map((name) => [name, z.string().meta({ format: 'binary' })])),
);

/** Every route. Publishers list releases and rollouts because they must see what they did; clients have no need to. */
export const routes = {
  health: {
    method: 'get',
    path: '/healthz',
    summary: 'The process is alive',
    roles: [],
    status: 200,
    response: statusResponse,
    errors: [],
  },
  ready: {
    method: 'get',
    path: '/readyz',
    summary: 'A release is active, verified and loaded',
    roles: [],
    status: 200,
    response: statusResponse,
    errors: [503],
  },
  openApi: {
    method: 'get',
    path: '/openapi.json',
    summary: 'This document',
    roles: [],
    status: 200,
    response: 'any',
    errors: [],
  },
  putRelease: {
    method: 'put',
    path: '/v1/releases/{digest}',
    summary: 'Store a signed release, one part a file; it is verified before anything is stored',
    roles: ['publish'],
    request: { 'multipart/form-data': releaseParts },
    status: 201,
    response: releaseResponse,
    errors: [400, 401, 403, 411, 413, 415, 422],
  },
  listReleases: {
    method: 'get',
    path: '/v1/releases',
    summary: 'The stored releases',
    roles: ['publish', 'admin'],
    status: 200,
    response: releasesResponse,
    errors: [401, 403],
  },
  postRollout: {
    method: 'post',
    path: '/v1/rollouts',
    summary: 'Make a stored release the one that serves',
    roles: ['publish', 'admin'],
    request: { 'application/json': rolloutRequest },
    status: 200,
    response: rolloutResponse,
    errors: [400, 401, 403, 404, 413, 415, 422],
  },
  getRollout: {
    method: 'get',
    path: '/v1/rollouts',
    summary: 'What serves, and the latest changes, oldest first',
    roles: ['publish', 'admin'],
    status: 200,
    response: rolloutResponse,
    errors: [401, 403],
  },
  classify: {
    method: 'post',
    path: '/v1/classify',
    summary: 'Classify one image',
    roles: ['classify'],
    request: { 'image/png': 'binary', 'image/jpeg': 'binary', 'application/json': classifyRequest },
    status: 200,
    response: classifyResponse,
    errors: [400, 401, 403, 413, 415, 422, 500, 503],
  },
  classifyBatch: {
    method: 'post',
    path: '/v1/classify/batch',
    summary: `Classify up to ${BATCH_LIMIT} images`,
    roles: ['classify'],
    request: { 'application/json': batchRequest },
    status: 200,
    response: batchResponse,
    errors: [400, 401, 403, 413, 415, 422, 500, 503],
  },
  listAlerts: {
    method: 'get',
    path: '/v1/alerts',
    summary: 'The alerts, newest first',
    roles: ['admin'],
    query: alertsQuery,
    status: 200,
    response: alertsResponse,
    errors: [400, 401, 403],
  },
} as const satisfies Record<string, Route>;

const jsonSchema = (content: Content, io: 'input' | 'output'): unknown => {
  if (content === 'any') return {};
  if (content === 'binary') return { type: 'string', format: 'binary' };
  const { $schema: _, ...schema } = z.toJSONSchema(content, { io });
  return schema;
};

const mediaTypes = (contents: Readonly<Record<string, Content>>, io: 'input' | 'output') =>
  Object.fromEntries(Object.entries(contents).map(([type, content]) => [type, { schema: jsonSchema(content, io) }]));

function operation(id: string, route: Route) {
  const inPath = [...route.path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: jsonSchema(digestSchema, 'input'),
  }));
  const inQuery = Object.entries(route.query?.shape ?? {}).map(([name, schema]) => ({
    name,
    in: 'query',
    schema: jsonSchema(schema as z.ZodType, 'input'),
  }));
  const error = { description: 'Refused', content: mediaTypes({ 'application/json': errorResponse }, 'output') };
  return {
    operationId: id,
    summary: route.summary,
    parameters: [...inPath, ...inQuery],
    ...(route.roles.length ? { security: [{ bearer: [...route.roles] }] } : {}),
    ...(route.request ? { requestBody: { required: true, content: mediaTypes(route.request, 'input') } } : {}),
    responses: {
      [route.status]: { description: 'Done', content: mediaTypes({ 'application/json': route.response }, 'output') },
      ...Object.fromEntries(route.errors.map((status) => [status, error])),
    },
  };
}

/** The OpenAPI 3.1 document of the API. */
export function openApi() {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const [id, route] of Object.entries<Route>(routes)) {
    paths[route.path] = { ...paths[route.path], [route.method]: operation(id, route) };
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Trigger Guard', version: '1', description: 'Image classification that flags recovered triggers.' },
    paths,
    components: { securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } } },
  };
}
