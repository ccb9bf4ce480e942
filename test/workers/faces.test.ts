import { deflateSync, gzipSync } from 'node:zlib';
import { InferenceClient } from '@huggingface/inference';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { shippedBundle } from '../support/bundle.ts';
import { hfResponse } from '../../src/api/hugging-face.ts';
import { inferResponse, modelMetadataResponse } from '../../src/api/open-inference.ts';
import { modelStatusResponse, tfClassifyResponse } from '../../src/api/tensorflow-serving.ts';
import { encodePng } from '../../src/image.ts';
import { createKey, signedRelease } from '../support/release.ts';
import { activate, publish, secrets, startEdge, TOKENS, type Edge } from './edge.ts';
import { mixedRelease, nestedPixels } from './mixed.ts';
import { largestDifference, offlineAnswer } from './offline.ts';
import { sendRaw, type Raw } from './raw.ts';

const key = await createKey();
const { content, clean, suspect } = await mixedRelease();
const { labelNames } = content.manifest.network;
const release = await signedRelease(key, content);
let edge: Edge;
let blocking: Edge;

beforeAll(async () => {
  const bundle = await shippedBundle();
  const start = async (policy: string): Promise<Edge> => {
    const edge = await startEdge(bundle, { ...secrets(key), GUARD_POLICY: policy });
    expect((await publish(edge, release)).status).toBe(201);
    expect((await activate(edge, release.digest)).status).toBe(200);
    return edge;
  };
  [edge, blocking] = await Promise.all([start('flag'), start('block')]);
});
afterAll(() => Promise.all([edge, blocking].map(({ miniflare }) => miniflare.dispose())));

const png = (data: Uint8Array): Uint8Array => encodePng({ height: 8, width: 8, channels: 1, data });
const unit = (data: Uint8Array): Float32Array => Float32Array.from(data, (value) => value / 255);
const base64 = (data: Uint8Array): string => Buffer.from(data).toString('base64');
const scoresOf = async (image: Uint8Array): Promise<number[]> => (await offlineAnswer(content, unit(image))).scores;
const post = (path: string, body: unknown, at = edge) => at.send('POST', path, { token: TOKENS.classify, body });

/** JSON and binary data of an answer, parted by its header. */
function parted({ headers, body }: Raw) {
  const length = Number(headers['inference-header-content-length'] ?? body.length);
  return { answer: inferResponse.parse(JSON.parse(body.toString('utf8', 0, length))), binary: body.subarray(length) };
}
const floats = (binary: Buffer): number[] =>
  Array.from({ length: binary.length / 4 }, (_, index) => binary.readFloatLE(4 * index));

describe('Open Inference', () => {
  const INFER = '/v2/models/trigger-guard/infer';
  /**
   * What `tritonclient.http` 2.x sends, written by hand from its source (`_client.infer`, `_utils._get_inference_request`,
   * `InferInput._get_tensor`): compact JSON in this order of fields, the tensors behind it, the header with the length of the JSON,
   * and no content type.
   */
  const fp32 = (binarySizeBytes: number, batch: number) =>
    Buffer.from(
      `{"id":"7","inputs":[{"name":"images","shape":[${batch},8,8,1],"datatype":"FP32","parameters":{"binary_data_size":${binarySizeBytes}}}],` +
        '"outputs":[{"name":"scores","parameters":{"binary_data":true}}]}',
    );
  const floatBytes = (images: Uint8Array[]): Buffer =>
    Buffer.concat(images.map((image) => Buffer.from(unit(image).buffer)));
  const inferRaw = (json: Buffer, binary: Uint8Array, at = edge, headers: Record<string, string> = {}) =>
    sendRaw(at, INFER, { 'Inference-Header-Content-Length': json.length, ...headers }, Buffer.concat([json, binary]));

  test('a binary FP32 batch as Triton’s client sends it gets binary scores, and the verdicts as parameters', async () => {
    const raw = await inferRaw(fp32(512, 2), floatBytes([clean, suspect]));
    expect([raw.status, raw.headers['content-type']]).toEqual([200, 'application/octet-stream']);
    const { answer, binary } = parted(raw);
    expect(answer).toMatchObject({ id: '7', model_name: 'trigger-guard', model_version: release.digest });
    expect(answer.parameters.guard_verdict).toBe('clean, suspect');
    expect(answer.parameters.guard_trigger).toMatch(/^-, [a-z0-9-]+$/);
    expect(raw.headers['x-guard-verdict']).toBe('clean, suspect');
    expect(answer.outputs).toEqual([
      {
        name: 'scores',
        datatype: 'FP32',
        shape: [2, labelNames.length],
        parameters: { binary_data_size: binary.length },
      },
    ]);
    const expected = [...(await scoresOf(clean)), ...(await scoresOf(suspect))];
    expect(largestDifference(floats(binary), expected)).toBeLessThan(1e-5);
  });

  test.each([
    ['gzip', gzipSync],
    ['deflate', deflateSync],
  ] as const)('a body compressed with %s is inflated first', async (encoding, compress) => {
    const json = fp32(256, 1);
    const body = compress(Buffer.concat([json, floatBytes([clean])]));
    const headers = { 'Content-Encoding': encoding, 'Inference-Header-Content-Length': json.length };
    const { binary } = parted(await sendRaw(edge, INFER, headers, body));
    expect(largestDifference(floats(binary), await scoresOf(clean))).toBeLessThan(1e-5);
    expect((await sendRaw(edge, INFER, headers, Buffer.from('neither'))).status).toBe(400);
    const bomb = await sendRaw(edge, INFER, { 'Content-Encoding': encoding }, compress(Buffer.alloc(64 << 20)));
    expect(bomb.status).toBe(413);
  });

  test('UINT8 data, files as BYTES, and JSON, with and without binary outputs, get the same scores', async () => {
    const expected = await scoresOf(clean);
    const file = png(clean);
    const size = Buffer.alloc(4);
    size.writeUInt32LE(file.length);
    const bytes = (binary: Buffer, tensor: string) =>
      inferRaw(
        Buffer.from(
          `{"inputs":[{"name":"images",${tensor},"parameters":{"binary_data_size":${binary.length}}}],"parameters":{"binary_data_output":true}}`,
        ),
        binary,
      );
    for (const raw of [
      await bytes(Buffer.from(clean), '"shape":[1,8,8,1],"datatype":"UINT8"'),
      await bytes(Buffer.concat([size, file]), '"shape":[1],"datatype":"BYTES"'),
    ]) {
      expect(raw.status, raw.body.toString()).toBe(200);
      expect(largestDifference(floats(parted(raw).binary), expected)).toBeLessThan(1e-5);
    }
    const tensors = [
      { shape: [1, 8, 8, 1], datatype: 'FP32', data: [...unit(clean)] },
      { shape: [1, 8, 8, 1], datatype: 'UINT8', data: [nestedPixels(clean)] },
      { shape: [1], datatype: 'BYTES', data: [base64(file)] },
    ];
    for (const tensor of tensors) {
      const { body } = await post(INFER, { inputs: [{ name: 'images', ...tensor }] });
      const { outputs, id } = inferResponse.parse(body);
      expect(id).toBeUndefined();
      expect(largestDifference(outputs[0]!.data as number[], expected)).toBeLessThan(1e-5);
    }
  });

  test('the classification extension gives score:label:name of the best labels, as JSON and as BYTES', async () => {
    const expected = await scoresOf(clean);
    const best = expected.indexOf(Math.max(...expected));
    const outputs = (binary: boolean) =>
      `"outputs":[{"name":"scores","parameters":{"classification":2,"binary_data":${binary}}}]`;
    const json = (binary: boolean) =>
      Buffer.from(
        `{"inputs":[{"name":"images","shape":[1,8,8,1],"datatype":"FP32","parameters":{"binary_data_size":256}}],${outputs(binary)}}`,
      );
    const asJson = parted(await inferRaw(json(false), floatBytes([clean]))).answer.outputs[0]!;
    expect(asJson).toMatchObject({ datatype: 'BYTES', shape: [1, 2] });
    const [score, label, name] = (asJson.data![0] as string).split(':');
    expect([Number(label), name]).toEqual([best, labelNames[best]]);
    expect(Number(score)).toBeCloseTo(expected[best]!, 5);
    const { binary } = parted(await inferRaw(json(true), floatBytes([clean])));
    const length = binary.readUInt32LE(0);
    expect(binary.toString('utf8', 4, 4 + length)).toBe(asJson.data![0]);
  });

  test('health, readiness and metadata are as the protocol says', async () => {
    const get = async (path: string, token?: string) =>
      fetch(new URL(path, edge.url), { headers: token ? { authorization: `Bearer ${token}` } : {} });
    const version = `/versions/${release.digest}`;
    for (const path of ['/v2/health/live', '/v2/health/ready', '/v2/models/trigger-guard/ready']) {
      const answer = await get(path);
      expect([path, answer.status, await answer.text()]).toEqual([path, 200, '']);
    }
    expect((await get(`/v2/models/trigger-guard${version}/ready`)).status).toBe(200);
    for (const path of ['/v2/models/other/ready', `/v2/models/trigger-guard/versions/1/ready`]) {
      expect((await get(path)).status).toBe(400);
    }
    expect(await (await get('/v2')).json()).toMatchObject({ extensions: ['binary_tensor_data', 'classification'] });
    for (const path of ['/v2/models/trigger-guard', `/v2/models/trigger-guard${version}`]) {
      const metadata = modelMetadataResponse.parse(await (await get(path, TOKENS.classify)).json());
      expect(metadata.versions).toEqual([release.digest]);
      expect(metadata.inputs).toEqual([{ name: 'images', datatype: 'FP32', shape: [-1, 8, 8, 1] }]);
      expect(metadata.outputs).toEqual([{ name: 'scores', datatype: 'FP32', shape: [-1, labelNames.length] }]);
    }
  });

  test('every refusal is {"error": text}', async () => {
    const tensor = { name: 'images', shape: [1, 8, 8, 1], datatype: 'FP32', data: [...unit(clean)] };
    const refused = async (path: string, body: unknown) => {
      const answer = await post(path, body);
      return [answer.status, (answer.body as { error: unknown }).error];
    };
    expect(await refused('/v2/models/other/infer', { inputs: [tensor] })).toEqual([
      404,
      'model: expected "trigger-guard", got "other"',
    ]);
    expect(await refused(`/v2/models/trigger-guard/versions/${'0'.repeat(64)}/infer`, { inputs: [tensor] })).toEqual([
      404,
      'version: expected the digest of a release that serves',
    ]);
    expect(await refused(INFER, { inputs: [{ ...tensor, data: [1] }] })).toEqual([
      400,
      'images: expected data of 64 elements, got 1',
    ]);
    expect((await refused(INFER, { inputs: [] }))[1]).toMatch(/^body: inputs: /);
    const shared = { ...tensor, parameters: { shared_memory_region: 'region' } };
    expect((await refused(INFER, { inputs: [shared] }))[1]).toMatch(/expected no shared memory/);
    const nan = Buffer.from(new Float32Array(64).fill(Number.NaN).buffer);
    const raw = await inferRaw(fp32(256, 1), nan);
    expect(JSON.parse(raw.body.toString())).toEqual({ error: 'images: expected numbers in 0..1, got NaN at 0' });
    const lying = await sendRaw(edge, INFER, { 'Inference-Header-Content-Length': '-5' }, fp32(256, 1));
    expect(lying.body.toString()).toMatch(/^\{"error":"inference-header/);
    const unauthorized = await edge.send('POST', INFER, { body: {} });
    expect([unauthorized.status, typeof (unauthorized.body as { error: unknown }).error]).toEqual([401, 'string']);
  });
});

describe('Hugging Face', () => {
  const path = '/hf-inference/models/trigger-guard';
  const client = (at: Edge) => ({ accessToken: TOKENS.classify, endpointUrl: new URL(path, at.url).href });

  test('the client of @huggingface/inference gets labels with scores, from bytes and from a typed blob', async () => {
    const scores = await scoresOf(clean);
    const best = scores.indexOf(Math.max(...scores));
    const inference = new InferenceClient(TOKENS.classify);
    const file = new Uint8Array(png(clean));
    for (const data of [new Blob([file]), new Blob([file], { type: 'image/png' }), file.buffer]) {
      const answer = await inference.imageClassification({ ...client(edge), data });
      expect(answer).toHaveLength(Math.min(5, labelNames.length));
      expect(answer[0]!.label).toBe(labelNames[best]);
      expect(Math.abs(answer[0]!.score - scores[best]!)).toBeLessThan(1e-5);
    }
    const endpoint = inference.endpoint(new URL(path, edge.url).href);
    expect((await endpoint.imageClassification({ data: new Blob([file]) }))[0]!.label).toBe(labelNames[best]);
  });

  test('the client is told why an image is refused, and why one is blocked', async () => {
    const inference = new InferenceClient(TOKENS.classify);
    const classify = (at: Edge, data: Uint8Array) =>
      inference.imageClassification({ ...client(at), data: new Blob([new Uint8Array(data)]) });
    await expect(classify(edge, Uint8Array.of(1, 2, 3))).rejects.toThrow(/image: expected PNG or JPEG, got 3 bytes/);
    await expect(classify(blocking, png(suspect))).rejects.toThrow(/blocked: the image carries the trigger/);
    expect(await classify(blocking, png(clean))).not.toHaveLength(0);
  });

  test('base64 with parameters works on the same route, and the headers hold the verdict', async () => {
    const body = { inputs: base64(png(suspect)), parameters: { top_k: 1, function_to_apply: 'sigmoid' } };
    const answer = await post(path, body);
    expect(hfResponse.parse(answer.body)).toHaveLength(1);
    expect(answer.headers.get('x-guard-verdict')).toBe('suspect');
    for (const wrong of [{ inputs: '*' }, { inputs: 1 }, { ...body, parameters: { top_k: 0 } }]) {
      const refused = await post(path, wrong);
      expect([refused.status, typeof (refused.body as { error: unknown }).error]).toEqual([422, 'string']);
    }
  });
});

describe('TensorFlow Serving', () => {
  const model = '/v1/models/trigger-guard';
  const version = `${model}/versions/${release.digest}`;
  const pixels = nestedPixels(clean).map((row) => row.map((pixel) => pixel.map((value) => value / 255)));

  test('predict takes rows and columns, pixels and files, by name and by version', async () => {
    const expected = await scoresOf(clean);
    const images = [pixels, { b64: base64(png(clean)) }];
    for (const path of [`${model}:predict`, `${version}:predict`]) {
      const rows = (await post(path, { instances: images })).body as { predictions: number[][] };
      const columns = (await post(path, { inputs: images })).body as { outputs: number[][] };
      for (const scores of [...rows.predictions, ...columns.outputs]) {
        expect(largestDifference(scores, expected)).toBeLessThan(1e-5);
      }
    }
  });

  test('classify gives every label with its score, highest first, and the status names the release', async () => {
    const { body } = await post(`${model}:classify`, { examples: [{ image: { b64: base64(png(clean)) } }] });
    const [labels] = tfClassifyResponse.parse(body).results;
    expect(labels!.map(([name]) => name).sort()).toEqual([...labelNames].sort());
    expect(labels!.map(([, score]) => score)).toEqual(labels!.map(([, score]) => score).sort((a, b) => b - a));
    for (const path of [model, version]) {
      const { body } = await edge.send('GET', path, { token: TOKENS.classify });
      expect(modelStatusResponse.parse(body).model_version_status.map(({ version }) => version)).toEqual([
        release.digest,
      ]);
    }
  });

  test('every refusal is {"error": text}, a blocked batch says which image', async () => {
    const both = await post(`${model}:predict`, { instances: [pixels], inputs: [pixels] });
    expect(both).toMatchObject({ status: 422, body: { error: 'body: expected either instances or inputs' } });
    const other = await post('/v1/models/other:predict', { instances: [pixels] });
    expect(other).toMatchObject({ status: 404, body: { error: 'model: expected "trigger-guard", got "other"' } });
    const bright = await post(`${model}:predict`, { instances: [nestedPixels(clean)] });
    expect((bright.body as { error: string }).error).toMatch(/expected a number in 0\.\.1/);
    const files = [clean, suspect].map((image) => ({ b64: base64(png(image)) }));
    const blocked = await post(`${model}:predict`, { instances: files }, blocking);
    expect([blocked.status, JSON.stringify(blocked.body)]).toEqual([
      422,
      expect.stringMatching(/^{"error":"blocked: image 1 /),
    ]);
  });
});
