/** Releases over HTTP: storing and listing them. */
import * as z from 'zod';
import { RELEASE_FILES, SIGNATURE_FILE } from '../release/manifest.ts';
import { digestSchema, type Routes } from './route.ts';

export const releaseResponse = z.strictObject({
  digest: digestSchema,
  createdAt: z.iso.datetime(),
  expiresAt: z.iso.datetime(),
  sizeBytes: z.int(),
  active: z.boolean(),
});
export const releasesResponse = z.strictObject({ releases: z.array(releaseResponse) });

const releaseParts = z.strictObject(
  Object.fromEntries([...RELEASE_FILES, SIGNATURE_FILE].map((name) => [name, z.string().meta({ format: 'binary' })])),
);

/** Publishers list releases because they must see what they did; clients have no need to. */
export const releaseRoutes = {
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
    roles: ['publish', 'operate'],
    status: 200,
    response: releasesResponse,
    errors: [401, 403],
  },
} as const satisfies Routes;
