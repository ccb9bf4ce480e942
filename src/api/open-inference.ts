/**
 * The Open Inference Protocol (KServe V2) over HTTP, with Triton's extensions for binary tensors and classification. Unknown fields and
 * parameters are ignored, as the protocol's extension mechanism wants it.
 */
import * as z from 'zod';
import { BATCH_LIMIT } from './classify.ts';
import { digestSchema, type Routes } from './route.ts';

export const SERVER = { name: 'trigger-guard', version: '1', extensions: ['binary_tensor_data', 'classification'] };
export const INPUT_NAME = 'images';
export const OUTPUT_NAME = 'scores';

const sizeBytes = z.int().min(0);
const shared = z.never('expected no shared memory: this server has none').optional();

export const inferRequest = z.object({
  id: z.string().max(256).optional(),
  parameters: z.object({ binary_data_output: z.boolean().optional() }).optional(),
  inputs: z
    .array(
      z.object({
        name: z.literal(INPUT_NAME),
        shape: z.array(sizeBytes).max(8),
        datatype: z.enum(['FP32', 'UINT8', 'BYTES']),
        parameters: z.object({ binary_data_size: sizeBytes.optional(), shared_memory_region: shared }).optional(),
        data: z
          .unknown()
          .optional()
          .meta({ type: 'array', description: 'the elements, nested or flat; files in base64' }),
      }),
    )
    .length(1),
  outputs: z
    .array(
      z.object({
        name: z.literal(OUTPUT_NAME),
        parameters: z
          .object({
            binary_data: z.boolean().optional(),
            classification: z.int().min(0).optional(),
            shared_memory_region: shared,
          })
          .optional(),
      }),
    )
    .max(1)
    .optional(),
});

const tensor = z.strictObject({ name: z.string(), datatype: z.string(), shape: z.array(z.int()) });

export const inferResponse = z.strictObject({
  model_name: z.string(),
  model_version: digestSchema,
  id: z.string().optional(),
  parameters: z.strictObject({ guard_verdict: z.string().optional(), guard_trigger: z.string().optional() }),
  outputs: z.array(
    tensor.extend({
      parameters: z.strictObject({ binary_data_size: sizeBytes }).optional(),
      data: z.array(z.union([z.number(), z.string()])).optional(),
    }),
  ),
});

export const modelMetadataResponse = z.strictObject({
  name: z.string(),
  versions: z.array(digestSchema),
  platform: z.string(),
  inputs: z.array(tensor),
  outputs: z.array(tensor),
});

export const modelParams = z.object({ model: z.string() });
export const versionParams = modelParams.extend({ version: digestSchema });

const health = { method: 'get', roles: [], status: 200, response: 'any', plainErrors: true } as const;
const metadata = {
  method: 'get',
  roles: ['classify'],
  status: 200,
  plainErrors: true,
  response: modelMetadataResponse,
  errors: [401, 403, 404, 429, 503],
} as const;
const inference = {
  method: 'post',
  summary: `Open Inference: scores of up to ${BATCH_LIMIT} images (FP32 in 0..1 or UINT8 [B,H,W,C], or BYTES [B], files)`,
  roles: ['classify'],
  request: { 'application/json': inferRequest, 'application/octet-stream': 'binary' },
  status: 200,
  response: inferResponse,
  alsoBinary: true,
  guarded: true,
  plainErrors: true,
  errors: [400, 401, 403, 404, 413, 415, 422, 429, 500, 503],
} as const;

export const openInferenceRoutes = {
  inferenceLive: { ...health, path: '/v2/health/live', summary: 'Open Inference: the server is alive', errors: [] },
  inferenceReady: {
    ...health,
    path: '/v2/health/ready',
    summary: 'Open Inference: a release is active, verified and loaded',
    errors: [400],
  },
  serverMetadata: {
    ...health,
    path: '/v2',
    summary: 'Open Inference: name, version and extensions of the server',
    response: z.strictObject({ name: z.string(), version: z.string(), extensions: z.array(z.string()) }),
    errors: [],
  },
  modelMetadata: {
    ...metadata,
    path: '/v2/models/{model}',
    params: modelParams,
    summary: 'Open Inference: the tensors and versions (release digests) of the model',
  },
  modelVersionMetadata: {
    ...metadata,
    path: '/v2/models/{model}/versions/{version}',
    params: versionParams,
    summary: 'Open Inference: the same for one version',
  },
  modelReady: {
    ...health,
    path: '/v2/models/{model}/ready',
    params: modelParams,
    summary: 'Open Inference: the model can answer',
    errors: [400],
  },
  modelVersionReady: {
    ...health,
    path: '/v2/models/{model}/versions/{version}/ready',
    params: versionParams,
    summary: 'Open Inference: that version can answer',
    errors: [400],
  },
  infer: { ...inference, path: '/v2/models/{model}/infer', params: modelParams },
  inferVersion: { ...inference, path: '/v2/models/{model}/versions/{version}/infer', params: versionParams },
} as const satisfies Routes;

export type InferResponse = z.infer<typeof inferResponse>;
