/** Hugging Face's image classification. */
import { hfAnswer, hfRequest, type HfParameters } from '../../src/api/hugging-face.ts';
import { imageFromBase64, imageFromFile } from '../../src/api/pixels.ts';
import { BODY_LIMIT_BYTES } from '../../src/api/route.ts';
import { readBatch } from '../classify.ts';
import { classifyImages } from '../guard-policy.ts';
import { mediaType, parseJson, readInflated, type Call } from '../http.ts';
import { expectNamedModel } from './named-model.ts';

/** POST /hf-inference/models/{model}: what is not JSON is taken for a file, for the client sends files without a content type. */
export async function hfClassify(c: Call): Promise<Response> {
  const body = await readInflated(c.req.raw, BODY_LIMIT_BYTES.classify);
  const request = mediaType(c.req.raw) === 'application/json' ? parseJson(body, hfRequest) : undefined;
  const model = await expectNamedModel(c);
  const { input, labelNames } = model.network;
  const image = readBatch(1, model, () =>
    request ? imageFromBase64(request.inputs, input, 'inputs') : imageFromFile(body, input, 'image'),
  );
  const [result] = classifyImages(c, model, image, 1);
  const parameters: HfParameters = request?.parameters;
  return c.json(hfAnswer(result!, labelNames, parameters));
}
