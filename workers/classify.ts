/** The classification routes: image or pixels in, label and verdict out, alerts aside. */
import type * as z from 'zod';
import type { Alert } from '../src/alert.ts';
import {
  batchRequest,
  BODY_LIMIT_BYTES,
  classifyRequest,
  imageFromPixels,
  PIXEL_LIMIT,
  type batchResponse,
  type Classification,
  type classifyResponse,
  type GuardAnswer,
} from '../src/api.ts';
import { decodeImage, toChannels } from '../src/image.ts';
import type { Network } from '../src/network/network.ts';
import type { Result } from '../src/result.ts';
import { raise } from './alerts.ts';
import { expectMediaType, parseJson, readBody, Refusal, type Call } from './http.ts';
import { infer, type Inference, type Model } from './model.ts';
import { activeModel } from './releases.ts';

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

async function expectModel(c: Call): Promise<Model> {
  const model = await activeModel(c.env, c.executionCtx);
  if (!model.ok) throw new Refusal(503, 'not_ready', `not ready: ${model.error}`);
  return model.value;
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

/** Infers, and stores an alert for every match; when the guard fails there is no answer, only an alert. */
function guardedInference(c: Call, model: Model, images: Float32Array, count: number): Classification[] {
  let results: Inference[];
  try {
    results = infer(model, images, count, c.env.GUARD !== 'off');
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    raise(c.env, c.executionCtx, [{ kind: 'guard-failure', release: model.digest, message }]);
    throw new Refusal(500, 'guard_failed', 'the guard could not judge this input, so no label is given');
  }
  const alerts = results.flatMap((result) => matchAlerts(model, result));
  if (alerts.length) raise(c.env, c.executionCtx, alerts);
  return results.map((result) => classification(model, result));
}

function matchAlerts({ digest }: Model, { label, verdict, victim }: Inference): Alert[] {
  if (verdict === 'off' || !victim) return [];
  const context = { kind: 'trigger-match', release: digest, label, victimLabel: victim.label } as const;
  return verdict.matches.map((match) => ({ ...context, ...match }));
}

function classification({ network }: Model, { label, scores, verdict, victim }: Inference): Classification {
  const nameOf = (index: number): string => network.labelNames[index]!;
  const named = { label, labelName: nameOf(label), scores };
  if (verdict === 'off') return { ...named, guard: { verdict } };
  const guard: GuardAnswer = {
    ...verdict,
    matches: verdict.matches.map((match) => ({ ...match, targetLabelName: nameOf(match.targetLabel) })),
    ...(victim && {
      evidence: { victimLabel: victim.label, victimLabelName: nameOf(victim.label), victimScores: victim.scores },
    }),
  };
  return { ...named, guard };
}
