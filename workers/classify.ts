/** The project's own face: image or pixels in, label and verdict out. */
import type * as z from 'zod';
import {
  batchRequest,
  classifyRequest,
  imageFromPixels,
  PIXEL_LIMIT,
  type batchResponse,
  type classifyResponse,
} from '../src/api/classify.ts';
import { BODY_LIMIT_BYTES } from '../src/api/route.ts';
import { decodeImage, toChannels } from '../src/image.ts';
import type { Network } from '../src/network/network.ts';
import type { Result } from '../src/result.ts';
import { expectMediaType, parseJson, readBody, Refusal, type Call } from './http.ts';
import { expectModel, guardedInference } from './inference.ts';

/** POST /v1/classify */
export async function classify(c: Call): Promise<Response> {
  const type = expectMediaType(c.req.raw, ['image/png', 'image/jpeg', 'application/json']);
  const body = await readBody(c.req.raw, BODY_LIMIT_BYTES.classify);
  const model = await expectModel(c);
  const { input } = model.network;
  const image =
    type === 'application/json'
      ? accept(imageFromPixels(parseJson(body, classifyRequest).pixels, input, 'pixels'))
      : imageFromFile(body, input);
  const [result] = guardedInference(c, model, image, 1);
  const answer: z.infer<typeof classifyResponse> = { ...result!, release: model.digest };
  return c.json(answer);
}

/** POST /v1/classify/batch */
export async function classifyBatch(c: Call): Promise<Response> {
  expectMediaType(c.req.raw, ['application/json']);
  const body = await readBody(c.req.raw, BODY_LIMIT_BYTES.classify);
  const model = await expectModel(c);
  const { images } = parseJson(body, batchRequest);
  const { height, width, channels } = model.network.input;
  const size = height * width * channels;
  const batch = new Float32Array(images.length * size);
  images.forEach((pixels, index) => {
    batch.set(accept(imageFromPixels(pixels, model.network.input, `images[${index}]`)), index * size);
  });
  const answer: z.infer<typeof batchResponse> = {
    release: model.digest,
    results: guardedInference(c, model, batch, images.length),
  };
  return c.json(answer);
}

function accept<T>(result: Result<T>): T {
  if (!result.ok) throw new Refusal(422, 'invalid_image', result.error);
  return result.value;
}

/** A PNG or JPEG as image [H*W*C] in 0..1, which must have the network's size: resizing would not show the model what it was tested on. */
function imageFromFile(body: Uint8Array, { height, width, channels }: Network['input']): Float32Array {
  const decoded = accept(decodeImage(body, { maxPixels: PIXEL_LIMIT }));
  if (decoded.height !== height || decoded.width !== width) {
    const got = `${decoded.height}x${decoded.width}`;
    throw new Refusal(422, 'invalid_image', `image: expected height x width ${height}x${width}, got ${got}`);
  }
  return Float32Array.from(accept(toChannels(decoded, channels)).data, (value) => value / 255);
}
