/** The OpenAPI document, made of the routes. */
import * as z from 'zod';
import { digestSchema, errorResponse, messageResponse, type Content, type Route, type Routes } from './route.ts';
import { subjects } from './routes.ts';

const jsonSchema = (content: Content, io: 'input' | 'output'): unknown => {
  if (content === 'any') return {};
  if (content === 'binary') return { type: 'string', format: 'binary' };
  const { $schema: _, ...schema } = z.toJSONSchema(content, { io });
  return schema;
};

const mediaTypes = (contents: Readonly<Record<string, Content>>, io: 'input' | 'output') =>
  Object.fromEntries(Object.entries(contents).map(([type, content]) => [type, { schema: jsonSchema(content, io) }]));

const textHeader = (description: string) => ({ description, schema: { type: 'string' } });

const guardHeaders = {
  'x-release': textHeader('the digest of the release that answered'),
  'x-guard-verdict': textHeader('clean or suspect, one for each image, in order; absent where the policy is shadow'),
  'x-guard-trigger': textHeader('with a suspect image: the trigger that each image matched best, - for none'),
};

function operation(id: string, subject: string, route: Route) {
  const inPath = [...route.path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: jsonSchema((route.params?.shape[name!] as z.ZodType | undefined) ?? digestSchema, 'input'),
  }));
  const inQuery = Object.entries(route.query?.shape ?? {}).map(([name, schema]) => ({
    name,
    in: 'query',
    schema: jsonSchema(schema as z.ZodType, 'input'),
  }));
  const error = {
    description: 'Refused',
    content: mediaTypes({ 'application/json': route.plainErrors ? messageResponse : errorResponse }, 'output'),
  };
  return {
    operationId: id,
    summary: route.summary,
    tags: [subject],
    parameters: [...inPath, ...inQuery],
    ...(route.roles.length ? { security: [{ bearer: [...route.roles] }] } : {}),
    ...(route.request ? { requestBody: { required: true, content: mediaTypes(route.request, 'input') } } : {}),
    responses: {
      [route.status]: {
        description: 'Done',
        ...(route.guarded && { headers: guardHeaders }),
        content: {
          ...mediaTypes({ [route.responseType ?? 'application/json']: route.response }, 'output'),
          ...(route.alsoBinary && mediaTypes({ 'application/octet-stream': 'binary' }, 'output')),
        },
      },
      ...Object.fromEntries([...route.errors, ...errorsOfLimits(route)].map((status) => [status, error])),
    },
  };
}

/** What the limits on every request answer: a long query, a slow body, too many requests or failures, large headers. */
const errorsOfLimits = ({ request, roles }: Route): number[] => [
  414,
  431,
  ...(request ? [408] : []),
  ...(roles.length ? [429, 503] : []),
];

/** The OpenAPI 3.1 document of the API. */
export function openApi() {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const [subject, routes] of Object.entries<Routes>(subjects)) {
    for (const [id, route] of Object.entries(routes)) {
      paths[route.path] = { ...paths[route.path], [route.method]: operation(id, subject, route) };
    }
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Trigger Guard', version: '1', description: 'Image classification that flags recovered triggers.' },
    tags: Object.keys(subjects).map((name) => ({ name })),
    paths,
    components: { securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } } },
  };
}
