/** One alert: what happened, the image with the trigger's place on it, what the victim would have answered, and what to do. */
import { html } from 'hono/html';
import type { Alert } from '../../src/alert.ts';
import type { AlertView } from '../../src/api/alerts.ts';
import { decodeImage, encodePng } from '../../src/image.ts';
import { encodeBase64 } from '../../src/release/encoding.ts';
import type { Result } from '../../src/result.ts';
import { heatMap, triggerPicture } from '../../src/trigger/picture.ts';
import { alertsObject } from '../alerts.ts';
import { readImage } from '../alerts/evidence.ts';
import { Refusal, type Call } from '../http.ts';
import type { Model } from '../model.ts';
import { releaseModel } from '../releases.ts';
import { idOf, KIND_NAMES, sentence, severityBadge, statusBadge } from './alerts.ts';
import { digest, formKey, instant, integer, show, verdict, type Markup } from './page.ts';
import type { Session } from './session.ts';

/** No image that the worker keeps is larger. */
const PIXELS_MAX = 4_000_000;

type TriggerMatch = Extract<Alert, { kind: 'trigger-match' }>;

/** GET /console/alerts/{id} */
export async function getAlert(c: Call, session: Session): Promise<Response> {
  const id = idOf(c);
  const view = (await alertsObject(c.env).get(id)) as AlertView | undefined;
  if (!view) throw new Refusal(404, 'not_found', 'there is no such alert');
  const { alert } = view;
  const tone = view.status === 'resolved' ? 'plain' : view.severity === 'critical' ? 'bad' : 'warn';
  const model = alert.kind === 'trigger-match' ? await releaseModel(c.env, c.executionCtx, alert.release) : undefined;
  const body = html`<p class="back"><a href="/console/alerts">← All alerts</a></p>
    ${verdict(tone, KIND_NAMES[alert.kind], sentence(alert, model?.ok ? model.value.network.labelNames : undefined))}
    ${alert.kind === 'trigger-match' && model ? await evidence(c, view, alert, model) : ''} ${facts(view)}
    ${view.status === 'resolved' ? '' : actions(view, session)}`;
  return show(c, { title: `Alert ${id}`, session, page: 'alerts', body });
}

async function evidence(c: Call, view: AlertView, alert: TriggerMatch, model: Result<Model>): Promise<Markup> {
  if (!model.ok) return html`<p class="card refused">▲ The pictures cannot be shown: ${model.error}.</p>`;
  const { network } = model.value;
  const name = (label: number): string => network.labelNames[label] ?? `label ${label}`;
  const obeyed = alert.victimLabel === alert.targetLabel;
  return html`<section class="card">
    <h2>What happened</h2>
    <div class="versus">
      <div>
        <p class="note">Purified model answered</p>
        <p class="answer good">${name(alert.label)}</p>
      </div>
      <div>
        <p class="note">Victim would have answered</p>
        <p class="answer ${obeyed ? 'bad' : ''}">${name(alert.victimLabel)}</p>
      </div>
      <div>
        <p class="note">Trigger leads to</p>
        <p class="answer">${name(alert.targetLabel)}</p>
      </div>
    </div>
    <p>
      ${obeyed ? 'The backdoor would have fired; purification took its effect.' : 'The victim would not have obeyed this time.'}
    </p>
    ${
      view.image && view.image.requestId !== alert.requestId
        ? html`<p class="note">
            The answers are those to the latest of ${integer(view.count)} images; the image below is the first.
          </p>`
        : ''
    }
    <div class="pictures">${await pictures(c, view, alert, model.value)}</div>
  </section>`;
}

const figure = (png: Uint8Array, caption: string): Markup =>
  html`<figure>
    <img src="data:image/png;base64,${encodeBase64(png)}" alt="" width="224" height="224" />
    <figcaption>${caption}</figcaption>
  </figure>`;

async function pictures(c: Call, view: AlertView, alert: TriggerMatch, { guard }: Model): Promise<Markup[]> {
  const trigger = guard.triggers[guard.fingerprint.triggers.findIndex(({ id }) => id === alert.triggerId)];
  const recovered = trigger ? [figure(encodePng(triggerPicture(trigger)), 'The recovered trigger, on grey')] : [];
  const kept = view.image && (await readImage(c.env, view.id));
  if (!kept) {
    const why = view.image
      ? 'The image is gone.'
      : 'No image was kept: EVIDENCE_IMAGES_DAYS says whether and how long.';
    return [...recovered, html`<p class="note">${why}</p>`];
  }
  const png = new Uint8Array(await kept.arrayBuffer());
  const image = decodeImage(png, { maxPixels: PIXELS_MAX });
  const heat = image.ok && trigger ? heatMap(image.value, trigger) : undefined;
  return [
    figure(png, 'The first image of this alert, as the model saw it'),
    ...(heat ? [figure(encodePng(heat), 'Orange: where the trigger lies')] : []),
    ...recovered,
  ];
}

function facts(view: AlertView): Markup {
  const { alert, firstSeen, lastSeen, count, resolvedAt, image } = view;
  const nowMs = Date.now();
  const rows: [string, Markup | string][] = [
    ['Severity', severityBadge(view)],
    ['Status', statusBadge(view)],
    ['Times', integer(count)],
    ['First seen', instant(firstSeen, nowMs)],
    ['Last seen', instant(lastSeen, nowMs)],
    ...(resolvedAt ? [['Over since', instant(resolvedAt, nowMs)] as [string, Markup]] : []),
    ...(alert.release === null ? [] : [['Release', digest(alert.release)] as [string, Markup]]),
    ...(alert.kind === 'trigger-match' ? matchFacts(alert) : []),
    ...(image ? [['Image kept until', instant(image.expiresAt, nowMs)] as [string, Markup]] : []),
    ['Key', html`<code>${view.key}</code>`],
  ];
  return html`<section class="card">
    <h2>Facts</h2>
    <dl class="facts">
      ${rows.map(
        ([name, value]) =>
          html`<div>
            <dt>${name}</dt>
            <dd>${value}</dd>
          </div>`,
      )}
    </dl>
  </section>`;
}

const matchFacts = (alert: TriggerMatch): [string, Markup | string][] => [
  ['Trigger', html`<code>${alert.triggerId}</code>`],
  ['p-value', alert.pValue.toPrecision(2)],
  ['Score', alert.score.toFixed(2)],
  ['Request', html`<code>${alert.requestId}</code>`],
  ['Client', html`<code title="${alert.clientKeyHash}">${alert.clientKeyHash.slice(0, 12)}</code>`],
];

const actions = ({ id, key, status, alert }: AlertView, session: Session): Markup =>
  html`<section class="card">
    <h2>What to do</h2>
    <div class="buttons">
      ${status === 'open' ? html`<form method="post" action="/console/alerts/${id}/acknowledge">${formKey(session)}<button class="primary">Acknowledge</button></form>` : ''}
      <form method="post" action="/console/alerts/${id}/resolve">${formKey(session)}<button>It is over</button></form>
    </div>
    <details>
      <summary>Silence what repeats it</summary>
      <form class="fields" method="post" action="/console/silences">
        ${formKey(session)}
        <input type="hidden" name="key" value="${key}" />
        <input type="hidden" name="kind" value="${alert.kind}" />
        <div>
          <label for="scope">What</label
          ><select id="scope" name="scope">
            <option value="key">only this (its key)</option>
            <option value="kind">every ${KIND_NAMES[alert.kind]}</option>
          </select>
        </div>
        <div>
          <label for="minutes">For</label
          ><select id="minutes" name="minutes">
            <option value="60">an hour</option>
            <option value="480">8 hours</option>
            <option value="1440">a day</option>
            <option value="10080">a week</option>
          </select>
        </div>
        <div><label for="reason">Reason</label><input id="reason" name="reason" maxlength="500" required /></div>
        <button>Silence</button>
      </form>
    </details>
  </section>`;
