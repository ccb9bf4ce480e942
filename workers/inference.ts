/** What every face of classification shares: the model, one guarded inference, and the alerts aside. */
import type { Classification, GuardAnswer } from '../src/api/classify.ts';
import { encodePng } from '../src/image.ts';
import { raise } from './alerts.ts';
import { clientKeyHash } from './client.ts';
import { Refusal, type Call } from './http.ts';
import { infer, type Inference, type Model } from './model.ts';
import { noteCounts, observe } from './health.ts';
import { keepActivations } from './retro-hunt/keep.ts';
import { modelFor } from './serving.ts';

/** The model that answers this client, or the named version of it; refuses with 503 when there is none. */
export async function expectModel(c: Call, version?: string): Promise<Model> {
  c.set('startedAtMs', Date.now());
  const model = await modelFor(c, (digest, counts) => noteCounts(c.env, c.executionCtx, digest, counts), version);
  if (!model.ok) throw new Refusal(503, 'not_ready', `not ready: ${model.error}`);
  return model.value;
}

/** Infers, and stores an alert for every match; when the guard fails there is no answer, only an alert. */
export function guardedInference(c: Call, model: Model, images: Float32Array, count: number): Classification[] {
  let results: Inference[];
  try {
    results = infer(model, images, count, c.env.GUARD !== 'off');
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    observe(c, model, images, undefined);
    raise(c.env, c.executionCtx, [{ kind: 'guard-failure', release: model.digest, message }]);
    throw new Refusal(500, 'guard_failed', 'the guard could not judge this input, so no label is given');
  }
  observe(c, model, images, results);
  keepActivations(c, model, results);
  if (results.some(({ victim }) => victim)) c.executionCtx.waitUntil(raiseMatches(c, model, images, results));
  return results.map((result) => classification(model, result));
}

/** An alert for every match, and the image that it is in. */
async function raiseMatches(c: Call, model: Model, images: Float32Array, results: readonly Inference[]): Promise<void> {
  const client = await clientKeyHash(c);
  const context = {
    kind: 'trigger-match',
    release: model.digest,
    requestId: c.get('requestId'),
    clientKeyHash: client,
  } as const;
  const found = results.flatMap(({ label, verdict, victim }, index) =>
    verdict === 'off' || !victim
      ? []
      : verdict.matches.map((match) => ({ alert: { ...context, label, victimLabel: victim.label, ...match }, index })),
  );
  const alerts = found.map(({ alert }) => alert);
  raise(c.env, c.executionCtx, alerts, (index) => pngOf(model, images, found[index]!.index));
}

/** One of `images` [B,H,W,C] as the network saw it. */
function pngOf({ network }: Model, images: Float32Array, index: number): Uint8Array {
  const { height, width, channels } = network.input;
  const size = height * width * channels;
  const data = Uint8ClampedArray.from(images.subarray(index * size, (index + 1) * size), (value) => 255 * value);
  return encodePng({ height, width, channels, data: new Uint8Array(data.buffer) });
}

function classification({ network }: Model, { label, scores, logits, verdict, victim }: Inference): Classification {
  const nameOf = (index: number): string => network.labelNames[index]!;
  const named = { label, labelName: nameOf(label), scores, logits };
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
