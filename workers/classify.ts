/** The project's own face: image or pixels in, label and verdict out. */
import type * as z from 'zod';
import {
  batchRequest,
  classifyQuery,
  classifyRequest,
  topLabels,
  type batchResponse,
  type classifyResponse,
} from '../src/api/classify.ts';
import { imageFromFile, imageFromJson, imageFromPixels } from '../src/api/pixels.ts';
import { BODY_LIMIT_BYTES } from '../src/api/route.ts';
import type { Result } from '../src/result.ts';
import { classifyImages, type Shown } from './guard-policy.ts';
import { expectMediaType, parseJson, parseQuery, readInflated, Refusal, type Call } from './http.ts';
import { expectModel } from './inference.ts';
import type { Model } from './model.ts';

/** POST /v1/classify */
export async function classify(c: Call): Promise<Response> {
  const { top_k: count } = parseQuery(c, classifyQuery);
  const type = expectMediaType(c.req.raw, ['image/png', 'image/jpeg', 'application/json']);
  const body = await readInflated(c.req.raw, BODY_LIMIT_BYTES.classify);
  const model = await expectModel(c);
  const { input } = model.network;
  const image = expectImage(
    type === 'application/json'
      ? imageFromPixels(parseJson(body, classifyRequest).pixels, input, 'pixels', 255)
      : imageFromFile(body, input, 'image'),
  );
  const [result] = classifyImages(c, model, image, 1);
  const answer: z.infer<typeof classifyResponse> = { ...shorten(result!, model, count), release: model.digest };
  return c.json(answer);
}

/** POST /v1/classify/batch */
export async function classifyBatch(c: Call): Promise<Response> {
  const { top_k: count } = parseQuery(c, classifyQuery);
  expectMediaType(c.req.raw, ['application/json']);
  const body = await readInflated(c.req.raw, BODY_LIMIT_BYTES.classify);
  const model = await expectModel(c);
  const { images } = parseJson(body, batchRequest);
  const { input } = model.network;
  const batch = readBatch(images.length, model, (index) =>
    imageFromJson(images[index], input, `images[${index}]`, 255),
  );
  const results = classifyImages(c, model, batch, images.length);
  const answer: z.infer<typeof batchResponse> = {
    release: model.digest,
    results: results.map((result) => shorten(result, model, count)),
  };
  return c.json(answer);
}

/** The image, or a refusal with 422. */
function expectImage(image: Result<Float32Array>): Float32Array {
  if (!image.ok) throw new Refusal(422, 'invalid_image', image.error);
  return image.value;
}

/** `count` images, each as `read` gives it, as one batch [B,H,W,C]; refuses with 422 at the first that is none. */
export function readBatch(count: number, model: Model, read: (index: number) => Result<Float32Array>): Float32Array {
  const { height, width, channels } = model.network.input;
  const size = height * width * channels;
  const batch = new Float32Array(count * size);
  for (let index = 0; index < count; index++) batch.set(expectImage(read(index)), index * size);
  return batch;
}

/** The answer about one image, with the `count` best labels in place of all scores where that many are asked for. */
function shorten({ label, labelName, scores, guard }: Shown, { network }: Model, count: number | undefined) {
  const shown = { label, labelName, ...(guard && { guard }) };
  if (count === undefined) return { ...shown, scores: [...scores] };
  return { ...shown, top: topLabels(scores, network.labelNames, count) };
}
