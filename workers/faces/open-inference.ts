/** The Open Inference Protocol. The content type is not looked at: Triton's client sends none. */
import type * as z from 'zod';
import { BATCH_LIMIT, topLabels } from '../../src/api/classify.ts';
import {
  inferRequest,
  INPUT_NAME,
  OUTPUT_NAME,
  SERVER,
  type InferResponse,
  type modelMetadataResponse,
} from '../../src/api/open-inference.ts';
import { BODY_LIMIT_BYTES } from '../../src/api/route.ts';
import { encodeElements, encodeFloats, readImages, splitBody } from '../../src/api/tensors.ts';
import { guardMarks } from '../../src/guard-policy.ts';
import type { Result } from '../../src/result.ts';
import { readBatch } from '../classify.ts';
import { classifyImages, servableModel, type Shown } from '../guard-policy.ts';
import { parseJson, readInflated, Refusal, type Call } from '../http.ts';
import type { Model } from '../model.ts';
import { expectNamedModel, modelName, servedVersions } from './named-model.ts';

const HEADER_LENGTH = 'inference-header-content-length';

/** GET /v2/health/live */
export const inferenceLive = (c: Call): Response => c.body(null, 200);

/** GET /v2/health/ready: the protocol wants a status of 4xx, without a body, where the answer is no. */
export async function inferenceReady(c: Call): Promise<Response> {
  return c.body(null, (await servableModel(c)).ok ? 200 : 400);
}

/** GET /v2/models/{model}/ready, also of a version */
export async function modelReady(c: Call): Promise<Response> {
  try {
    await expectNamedModel(c);
  } catch (error) {
    if (error instanceof Refusal) return c.body(null, 400);
    throw error;
  }
  return inferenceReady(c);
}

/** GET /v2 */
export const serverMetadata = (c: Call): Response => c.json(SERVER);

/** GET /v2/models/{model}, also of a version */
export async function modelMetadata(c: Call): Promise<Response> {
  const model = await expectNamedModel(c);
  const { input, labelNames } = model.network;
  const body: z.infer<typeof modelMetadataResponse> = {
    name: modelName(c.env),
    versions: servedVersions(model),
    platform: 'trigger-guard_release',
    inputs: [{ name: INPUT_NAME, datatype: 'FP32', shape: [-1, input.height, input.width, input.channels] }],
    outputs: [{ name: OUTPUT_NAME, datatype: 'FP32', shape: [-1, labelNames.length] }],
  };
  return c.json(body);
}

function expect400<T>(result: Result<T>): T {
  if (!result.ok) throw new Refusal(400, 'invalid_request', result.error);
  return result.value;
}

/** POST /v2/models/{model}/infer, also of a version */
export async function infer(c: Call): Promise<Response> {
  const body = await readInflated(c.req.raw, BODY_LIMIT_BYTES.classify);
  const { json, binary } = expect400(splitBody(body, c.req.header(HEADER_LENGTH)));
  const request = parseJson(json, inferRequest);
  const [{ parameters, ...tensor }] = request.inputs as [(typeof request.inputs)[number]];
  const model = await expectNamedModel(c);
  const binarySizeBytes = parameters?.binary_data_size;
  const images = expect400(readImages({ ...tensor, binarySizeBytes }, binary, model.network.input, BATCH_LIMIT));
  const results = classifyImages(c, model, readBatch(images.count, model, images.read), images.count);
  const wanted = request.outputs?.[0]?.parameters;
  const { output, bytes } = outputTensor(results, model, wanted?.classification ?? 0);
  const isBinary = wanted?.binary_data ?? request.parameters?.binary_data_output ?? false;
  const { data: _, ...described } = output;
  const answer: InferResponse = {
    model_name: modelName(c.env),
    model_version: model.digest,
    ...(request.id !== undefined && { id: request.id }),
    parameters: marksOf(results),
    outputs: [isBinary ? { ...described, parameters: { binary_data_size: bytes().length } } : output],
  };
  return isBinary ? binaryAnswer(c, answer, bytes()) : c.json(answer);
}

/** The scores [B,K], or with `count` the best labels [B,count] as `score:label:name`. */
function outputTensor(results: readonly Shown[], { network }: Model, count: number) {
  if (count === 0) {
    const data = results.flatMap(({ scores }) => scores);
    const output = { name: OUTPUT_NAME, datatype: 'FP32', shape: [results.length, network.labelNames.length], data };
    return { output, bytes: () => encodeFloats(data) };
  }
  const data = results.flatMap(({ scores }) =>
    topLabels(scores, network.labelNames, count).map(({ score, label, labelName }) => `${score}:${label}:${labelName}`),
  );
  const output = { name: OUTPUT_NAME, datatype: 'BYTES', shape: [results.length, data.length / results.length], data };
  return { output, bytes: () => encodeElements(data) };
}

/** The guard's marks as parameters of the response; none where the policy hides them. */
function marksOf(results: readonly Shown[]): InferResponse['parameters'] {
  const marked = results.flatMap(({ guard }) => (guard ? [{ guard }] : []));
  if (marked.length === 0) return {};
  const { verdict, trigger } = guardMarks(marked);
  return { guard_verdict: verdict, ...(trigger !== undefined && { guard_trigger: trigger }) };
}

function binaryAnswer(c: Call, answer: InferResponse, bytes: Uint8Array): Response {
  const json = new TextEncoder().encode(JSON.stringify(answer));
  const body = new Uint8Array(json.length + bytes.length);
  body.set(json);
  body.set(bytes, json.length);
  return c.body(body, 200, { 'content-type': 'application/octet-stream', [HEADER_LENGTH]: String(json.length) });
}
