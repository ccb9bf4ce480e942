/** TensorFlow Serving's REST API. Its clients send any content type, so none is asked for. */
import type * as z from 'zod';
import { topLabels } from '../../src/api/classify.ts';
import { imageFromBase64, imageFromJson } from '../../src/api/pixels.ts';
import { BODY_LIMIT_BYTES } from '../../src/api/route.ts';
import {
  predictRequest,
  tfClassifyRequest,
  type modelStatusResponse,
  type predictResponse,
  type tfClassifyResponse,
} from '../../src/api/tensorflow-serving.ts';
import { readBatch } from '../classify.ts';
import { classifyImages } from '../guard-policy.ts';
import { parseJson, readInflated, type Call } from '../http.ts';
import { expectNamedModel, servedVersions } from './named-model.ts';

/** GET /v1/models/{model}, also of a version */
export async function modelStatus(c: Call): Promise<Response> {
  const model = await expectNamedModel(c);
  const versions = c.req.param('version') === undefined ? servedVersions(model) : [model.digest];
  const body: z.infer<typeof modelStatusResponse> = {
    model_version_status: versions.map((version) => ({
      version,
      state: 'AVAILABLE',
      status: { error_code: 'OK', error_message: '' },
    })),
  };
  return c.json(body);
}

/** POST /v1/models/{model}:predict, also of a version: rows (`instances`) or columns (`inputs`), which are the same for one input. */
export async function tfPredict(c: Call): Promise<Response> {
  const request = parseJson(await readInflated(c.req.raw, BODY_LIMIT_BYTES.classify), predictRequest);
  const model = await expectNamedModel(c);
  const [field, images] = request.instances
    ? (['instances', request.instances] as const)
    : (['inputs', request.inputs!] as const);
  const batch = readBatch(images.length, model, (index) =>
    imageFromJson(images[index], model.network.input, `${field}[${index}]`, 1),
  );
  const scores = classifyImages(c, model, batch, images.length).map((result) => [...result.scores]);
  const body: z.infer<typeof predictResponse> = field === 'instances' ? { predictions: scores } : { outputs: scores };
  return c.json(body);
}

/** POST /v1/models/{model}:classify, also of a version */
export async function tfClassify(c: Call): Promise<Response> {
  const { examples } = parseJson(await readInflated(c.req.raw, BODY_LIMIT_BYTES.classify), tfClassifyRequest);
  const model = await expectNamedModel(c);
  const { input, labelNames } = model.network;
  const batch = readBatch(examples.length, model, (index) =>
    imageFromBase64(examples[index]!.image.b64, input, `examples[${index}].image`),
  );
  const results = classifyImages(c, model, batch, examples.length).map(({ scores }) =>
    topLabels(scores, labelNames, scores.length).map(({ labelName, score }): [string, number] => [labelName, score]),
  );
  const body: z.infer<typeof tfClassifyResponse> = { results };
  return c.json(body);
}
