/** TensorFlow Serving's REST API: predict by rows or columns, classify, and the model's status. */
import * as z from 'zod';
import { BATCH_LIMIT } from './classify.ts';
import { modelParams, versionParams } from './open-inference.ts';
import { digestSchema, type Routes } from './route.ts';

const images = z
  .array(z.unknown().meta({ description: '{"b64": a PNG or JPEG file}, or pixels [H][W][C], numbers in 0..1' }))
  .min(1)
  .max(BATCH_LIMIT);

export const predictRequest = z
  .object({ instances: images.optional(), inputs: images.optional() })
  .refine(({ instances, inputs }) => (instances === undefined) !== (inputs === undefined), {
    message: 'expected either instances or inputs',
  });
const scores = z.array(z.array(z.number()));
export const predictResponse = z.union([z.strictObject({ predictions: scores }), z.strictObject({ outputs: scores })]);

const example = z.strictObject({ image: z.strictObject({ b64: z.string() }) });
export const tfClassifyRequest = z.object({ examples: z.array(example).min(1).max(BATCH_LIMIT) });
export const tfClassifyResponse = z.strictObject({ results: z.array(z.array(z.tuple([z.string(), z.number()]))) });

export const modelStatusResponse = z.strictObject({
  model_version_status: z.array(
    z.strictObject({
      version: digestSchema,
      state: z.literal('AVAILABLE'),
      status: z.strictObject({ error_code: z.literal('OK'), error_message: z.literal('') }),
    }),
  ),
});

const status = {
  method: 'get',
  roles: ['classify'],
  status: 200,
  response: modelStatusResponse,
  plainErrors: true,
  errors: [401, 403, 404, 429, 503],
} as const;
const inference = {
  method: 'post',
  roles: ['classify'],
  status: 200,
  guarded: true,
  plainErrors: true,
  errors: [400, 401, 403, 404, 413, 415, 422, 429, 500, 503],
} as const;
const predict = {
  ...inference,
  summary: 'TensorFlow Serving: the scores of each image',
  request: { 'application/json': predictRequest },
  response: predictResponse,
} as const;
const classify = {
  ...inference,
  summary: 'TensorFlow Serving: the labels of each image with their scores, highest first',
  request: { 'application/json': tfClassifyRequest },
  response: tfClassifyResponse,
} as const;

export const tensorflowServingRoutes = {
  modelStatus: {
    ...status,
    path: '/v1/models/{model}',
    params: modelParams,
    summary: 'TensorFlow Serving: the versions (release digests) that answer',
  },
  modelVersionStatus: {
    ...status,
    path: '/v1/models/{model}/versions/{version}',
    params: versionParams,
    summary: 'TensorFlow Serving: whether that version answers',
  },
  tfPredict: { ...predict, path: '/v1/models/{model}:predict', params: modelParams },
  tfPredictVersion: { ...predict, path: '/v1/models/{model}/versions/{version}:predict', params: versionParams },
  tfClassify: { ...classify, path: '/v1/models/{model}:classify', params: modelParams },
  tfClassifyVersion: { ...classify, path: '/v1/models/{model}/versions/{version}:classify', params: versionParams },
} as const satisfies Routes;
