/** The model as the other protocols name it: by the deployment's name, its versions by release digest. */
import type { Env } from '../env.ts';
import { Refusal, type Call } from '../http.ts';
import { expectModel } from '../inference.ts';
import type { Model } from '../model.ts';
import { knownServing } from '../serving.ts';

/** What the model of this deployment is called. */
export const modelName = (env: Env): string => env.MODEL_NAME ?? 'trigger-guard';

/** A parameter of the path without the verb behind it (`:predict`). */
const parameter = (c: Call, name: string): string | undefined => c.req.param(name)?.split(':')[0];

/** The model that the path names and, if it says so, that version of it; refuses any other with 404. */
export async function expectNamedModel(c: Call): Promise<Model> {
  const name = parameter(c, 'model');
  if (name !== modelName(c.env)) {
    throw new Refusal(
      404,
      'unknown_model',
      `model: expected "${modelName(c.env)}", got ${JSON.stringify(name?.slice(0, 100))}`,
    );
  }
  const version = parameter(c, 'version');
  if (version === undefined) return expectModel(c);
  try {
    return await expectModel(c, version);
  } catch (error) {
    const unknown = error instanceof Refusal && ['invalid_digest', 'release_not_served'].includes(error.code);
    throw unknown
      ? new Refusal(404, 'unknown_version', 'version: expected the digest of a release that serves')
      : error;
  }
}

/** The releases that may be asked for by name: the stable one and the canary, or the one that answers. */
export function servedVersions(model: Model): string[] {
  const serving = knownServing();
  const digests = [serving?.stable, serving?.canary?.digest].filter((digest) => typeof digest === 'string');
  return digests.length ? digests : [model.digest];
}
