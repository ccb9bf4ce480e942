/**
 * Try it: one image through the same door as any client's. It asks for the role classify and for nothing less or more, because that is who may have
 * labels: a token that steers rollouts is no free oracle for whoever steals it. An operator who wants this page has a token with both roles.
 */
import { html } from 'hono/html';
import { imageFromFile } from '../../src/api/pixels.ts';
import { topLabels } from '../../src/api/classify.ts';
import { encodePng } from '../../src/image.ts';
import { encodeBase64 } from '../../src/release/encoding.ts';
import { classifyImages, type Shown } from '../guard-policy.ts';
import { Refusal, type Call } from '../http.ts';
import { expectModel } from '../inference.ts';
import type { Model } from '../model.ts';
import { limitRate } from '../rate-limit.ts';
import { badge, digest, formKey, percent, show, verdict, type Markup } from './page.ts';
import type { Session } from './session.ts';

const TOP = 5;

const uploadForm = (session: Session): Markup =>
  html`<form class="card drop" method="post" action="/console/try" enctype="multipart/form-data">
    ${formKey(session)}
    <label for="image"><b>Choose an image</b><span class="script-only"> or drop it here</span></label>
    <input id="image" name="image" type="file" accept="image/png,image/jpeg" required />
    <p class="note">
      PNG or JPEG of up to 4 MB. It is resized to what the model takes, answered and counted like any client's image.
    </p>
    <button class="primary">Classify</button>
  </form>`;

/** GET /console/try */
export const getTry = (c: Call, session: Session): Response | Promise<Response> =>
  show(c, {
    title: 'Try it',
    session,
    page: 'try',
    body: html`${verdict('plain', 'Try an image', 'See the label, and whether the guard finds a trigger in it.')}
    ${uploadForm(session)}`,
    scripts: ['drop.mjs'],
  });

/** POST /console/try */
export async function postTry(c: Call, form: FormData, session: Session): Promise<Response> {
  await limitRate(c.env, 'CLASSIFY_LIMIT', c.get('actor'));
  const file = form.get('image');
  if (!(file instanceof File)) throw new Refusal(422, 'invalid_image', 'image: expected a PNG or JPEG file');
  const bytes = new Uint8Array(await file.arrayBuffer());
  const model = await expectModel(c);
  const image = imageFromFile(bytes, model.network.input, 'image');
  if (!image.ok) throw new Refusal(422, 'invalid_image', image.error);
  const { width, height } = model.network.input;
  const { said, scores } = classified(c, model, image.value);
  const body = html`${said}
    <div class="tried">
      ${scores}
      <figure class="card seen">
        <img
          src="data:image/png;base64,${seen(model, image.value)}"
          alt="The image as the model saw it"
          width="224"
          height="224"
        />
        <figcaption>
          What the model saw: ${width} × ${height} pixels. Answered by release ${digest(model.digest)}.
        </figcaption>
      </figure>
    </div>
    ${uploadForm(session)}`;
  return show(c, { title: 'Try it', session, page: 'try', body, scripts: ['drop.mjs'] });
}

/** The answer under the deployment's policy: where suspects are blocked, the reason is the answer. */
function classified(c: Call, model: Model, image: Float32Array): { said: Markup; scores: Markup | string } {
  let result: Shown;
  try {
    [result] = classifyImages(c, model, image, 1) as [Shown];
  } catch (error) {
    if (!(error instanceof Refusal) || error.code !== 'suspect_input') throw error;
    return { said: verdict('bad', 'Blocked: the image is suspect', error.message), scores: '' };
  }
  const { labelName, scores, guard } = result;
  const top = topLabels(scores, model.network.labelNames, TOP);
  const bars = html`<section class="card">
    <h2>Scores</h2>
    <dl class="rates">
      ${top.map(
        ({ labelName, score }) =>
          html`<div>
            <dt>${labelName}</dt>
            <dd>
              <svg class="rate" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">
                <rect class="track" width="100" height="8" />
                <rect class="fill" width="${100 * score}" height="8" /></svg
              ><b>${percent(score)}</b>
            </dd>
          </div>`,
      )}
    </dl>
  </section>`;
  return { said: headline(labelName, guard), scores: bars };
}

function headline(labelName: string, guard: Shown['guard']): Markup {
  if (!guard)
    return verdict('plain', labelName, 'The policy of this worker is shadow: verdicts are recorded, not shown.');
  if (guard.verdict === 'off') return verdict('warn', labelName, 'The guard is off: nothing was looked for.');
  const p = html`p-value <b>${guard.pValue.toPrecision(2)}</b>`;
  if (guard.verdict === 'clean') {
    return verdict('good', labelName, html`${badge('good', 'clean')} The guard finds no trigger; ${p}.`);
  }
  const [match] = guard.matches;
  return verdict(
    'bad',
    labelName,
    html`${badge('bad', 'suspect')} The image carries trigger <code>${match!.triggerId}</code>, which leads to
      <em>${match!.targetLabelName}</em>; ${p}.
      ${
        guard.evidence
          ? html`The model before purification would have answered <em>${guard.evidence.victimLabelName}</em>.`
          : ''
      }`,
  );
}

function seen({ network }: Model, image: Float32Array): string {
  const data = Uint8Array.from(image, (value) => Math.round(255 * value));
  return encodeBase64(encodePng({ ...network.input, data }));
}
