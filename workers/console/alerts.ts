/** Alerts: the table of them, and what may be done. */
import { html } from 'hono/html';
import { ALERT_KINDS, describeAlert, type Alert, type AlertKind } from '../../src/alert.ts';
import {
  alertsQuery,
  silenceRequest,
  type AlertsQuery,
  type AlertView,
  type Silence,
  type SinkView,
} from '../../src/api/alerts.ts';
import { alertsObject } from '../alerts.ts';
import { firstIssue, Refusal, type Call } from '../http.ts';
import { releaseModel } from '../releases.ts';
import { readRollout } from '../rollout.ts';
import { badge, formKey, instant, integer, show, textOf, verdict, type Markup } from './page.ts';
import type { Session } from './session.ts';

export const KIND_NAMES: Record<AlertKind, string> = {
  'trigger-match': 'Trigger match',
  'match-rate-surge': 'Surge of matches',
  'rollout-paused': 'Rollout paused',
  'rollout-rolled-back': 'Rolled back',
  'guard-failure': 'Guard failure',
  'release-refused': 'Release refused',
  'notifications-dropped': 'Notifications dropped',
};
const PAGE = 25;

/** One sentence, with the names of labels where they are known. */
export function sentence(alert: Alert, labelNames: readonly string[] | undefined): Markup | string {
  if (alert.kind !== 'trigger-match' || !labelNames) return withShortDigests(describeAlert(alert));
  const name = (label: number): string => labelNames[label] ?? `label ${label}`;
  return html`An image carries trigger <code>${alert.triggerId}</code>, which leads to
    <em>${name(alert.targetLabel)}</em>. It was answered <em>${name(alert.label)}</em>; the victim would have answered
    <em>${name(alert.victimLabel)}</em>.`;
}

const withShortDigests = (text: string): string => text.replaceAll(/\b([0-9a-f]{12})[0-9a-f]{52}\b/g, '$1');

/** The names of the labels of what serves, by release: these models are in memory. */
async function servedLabelNames(c: Call): Promise<ReadonlyMap<string, readonly string[]>> {
  const { stable, canary } = await readRollout(c.env);
  const named = new Map<string, readonly string[]>();
  for (const release of [stable, canary?.digest]) {
    const model = release && (await releaseModel(c.env, c.executionCtx, release));
    if (model && model.ok) named.set(model.value.digest, model.value.network.labelNames);
  }
  return named;
}
const CHOICES = {
  status: ['open', 'acknowledged', 'resolved'],
  severity: ['critical', 'warning'],
  kind: ALERT_KINDS,
} as const;

/** GET /console/alerts */
export async function getAlerts(c: Call, session: Session): Promise<Response> {
  const given = Object.fromEntries(Object.entries(c.req.query()).filter(([, value]) => value !== ''));
  const query = alertsQuery.safeParse({ ...given, limit: PAGE });
  if (!query.success) throw new Refusal(400, 'invalid_request', firstIssue(query.error));
  const object = alertsObject(c.env);
  const [names, views, silences, { open, sinks }] = await Promise.all([
    servedLabelNames(c),
    object.list(query.data) as Promise<AlertView[]>,
    object.silences() as Promise<Silence[]>,
    object.figures() as Promise<{ open: { severity: string; count: number }[]; sinks: SinkView[] }>,
  ]);
  const body = html`${headline(open)} ${filter(query.data)} ${table(views, query.data, names)}
  ${silenceList(silences, session)} ${sinkList(sinks)}`;
  return show(c, { title: 'Alerts', session, page: 'alerts', body });
}

function headline(open: { severity: string; count: number }[]): Markup {
  const count = (severity: string): number => open.find((entry) => entry.severity === severity)?.count ?? 0;
  const [critical, warnings] = [count('critical'), count('warning')];
  if (critical + warnings === 0) return verdict('good', 'Nothing is open', 'Every alert is taken care of or over.');
  const title = `${integer(critical + warnings)} ${critical + warnings === 1 ? 'alert is' : 'alerts are'} open`;
  return verdict(
    critical ? 'bad' : 'warn',
    title,
    `${integer(critical)} critical, ${integer(warnings)} ${warnings === 1 ? 'warning' : 'warnings'}. Acknowledge what you take care of.`,
  );
}

const nameOf = (choice: string): string => KIND_NAMES[choice as AlertKind] ?? choice;

const filter = (query: AlertsQuery): Markup =>
  html`<form class="filter" method="get" action="/console/alerts" aria-label="Filter">
    ${Object.entries(CHOICES).map(
      ([field, choices]) =>
        html`<div>
          <label for="${field}">${field}</label>
          <select id="${field}" name="${field}">
            <option value="">any</option>
            ${choices.map((choice) => html`<option value="${choice}" ${choice === query[field as keyof typeof CHOICES] ? 'selected' : ''}>${nameOf(choice)}</option>`)}
          </select>
        </div>`,
    )}
    <button>Filter</button>
  </form>`;

export const severityBadge = ({ severity }: AlertView): Markup =>
  badge(severity === 'critical' ? 'bad' : 'warn', severity);

export function statusBadge({ status, silenced, acknowledged }: AlertView): Markup {
  const said = status === 'acknowledged' ? html`acknowledged by <code>${acknowledged!.by}</code>` : status;
  return html`<span class="status ${status}">${said}${silenced ? ', silenced' : ''}</span>`;
}

function table(views: readonly AlertView[], query: AlertsQuery, names: ReadonlyMap<string, readonly string[]>): Markup {
  if (views.length === 0)
    return html`<p class="card empty">
      No alert ${(query.kind ?? query.severity ?? query.status) ? 'fits the filter' : 'was raised yet'}.
    </p>`;
  const nowMs = Date.now();
  const row = (view: AlertView): Markup =>
    html`<tr>
      <td data-label="Severity">${severityBadge(view)}</td>
      <th scope="row">
        <a href="/console/alerts/${view.id}">${KIND_NAMES[view.alert.kind]}</a
        ><span class="said">${sentence(view.alert, names.get(view.alert.release ?? ''))}</span>
      </th>
      <td data-label="Times" class="number">${integer(view.count)}</td>
      <td data-label="Last seen">${instant(view.lastSeen, nowMs)}</td>
      <td data-label="Status">${statusBadge(view)}</td>
    </tr>`;
  const older = new URLSearchParams({
    ...(query.status && { status: query.status }),
    ...(query.severity && { severity: query.severity }),
    ...(query.kind && { kind: query.kind }),
    cursor: String(views.at(-1)!.id),
  });
  return html`<table class="card alerts">
      <caption class="hidden">
        Alerts, newest first
      </caption>
      <thead>
        <tr>
          <th scope="col">Severity</th>
          <th scope="col">Alert</th>
          <th scope="col" class="number">Times</th>
          <th scope="col">Last seen</th>
          <th scope="col">Status</th>
        </tr>
      </thead>
      <tbody>
        ${views.map(row)}
      </tbody>
    </table>
    ${views.length === PAGE ? html`<p><a href="/console/alerts?${older.toString()}">Older alerts</a></p>` : ''}`;
}

function silenceList(silences: readonly Silence[], session: Session): Markup | string {
  if (silences.length === 0) return '';
  const nowMs = Date.now();
  return html`<section class="card">
    <h2>Silences</h2>
    <ul class="list">
      ${silences.map(
        ({ id, scope, until, by, reason }) =>
          html`<li>
            <form method="post" action="/console/silences/${id}/end">
              ${formKey(session)}
              <p>
                ${'kind' in scope ? html`Every <b>${KIND_NAMES[scope.kind]}</b>` : html`Key <code>${scope.key}</code>`}
                until ${instant(until, nowMs)}, by <code>${by}</code>${reason ? html`: ${reason}` : ''}
              </p>
              <button aria-label="End silence ${id}">End it</button>
            </form>
          </li>`,
      )}
    </ul>
  </section>`;
}

const sinkList = (sinks: readonly SinkView[]): Markup =>
  html`<section class="card">
    <h2>Who is told</h2>
    ${
      sinks.length === 0
        ? html`<p class="note">Nobody: no sink is configured.</p>`
        : html`<ul class="list">
            ${sinks.map(
              ({ name, type, queued, lastError }) =>
                html`<li>
                  ${lastError === null ? badge('good', 'well') : badge('warn', 'failing')} <b>${name}</b> (${type}),
                  ${integer(queued)} waiting${lastError === null ? '' : html`: ${lastError}`}
                </li>`,
            )}
          </ul>`
    }
  </section>`;

/** The id in the path. */
export function idOf(c: Call): number {
  const id = Number(c.req.param('id'));
  if (!Number.isSafeInteger(id) || id < 1) throw new Refusal(404, 'not_found', 'there is no such alert');
  return id;
}

const backTo = (c: Call, id: number): Response => c.redirect(`/console/alerts/${id}`, 303);

/** POST /console/alerts/{id}/acknowledge */
export async function acknowledge(c: Call): Promise<Response> {
  const id = idOf(c);
  if (!(await alertsObject(c.env).acknowledge(id, c.get('actor'))))
    throw new Refusal(404, 'not_found', 'there is no such alert');
  return backTo(c, id);
}

/** POST /console/alerts/{id}/resolve */
export async function resolve(c: Call): Promise<Response> {
  const id = idOf(c);
  if (!(await alertsObject(c.env).resolve(id))) throw new Refusal(404, 'not_found', 'there is no such alert');
  return backTo(c, id);
}

/** POST /console/silences */
export async function silence(c: Call, form: FormData): Promise<Response> {
  const [kind, key] = [textOf(form, 'kind'), textOf(form, 'key')];
  const scope = textOf(form, 'scope') === 'kind' ? { kind } : { key };
  const request = silenceRequest.safeParse({
    scope,
    minutes: Number(textOf(form, 'minutes')),
    reason: textOf(form, 'reason').trim(),
  });
  if (!request.success) throw new Refusal(422, 'invalid_request', firstIssue(request.error));
  const silence = await alertsObject(c.env).silence(request.data, c.get('actor'));
  if (!silence)
    throw new Refusal(409, 'too_many_silences', 'there are as many silences as there may be: end one first');
  return c.redirect('/console/alerts', 303);
}

/** POST /console/silences/{id}/end */
export async function endSilence(c: Call): Promise<Response> {
  await alertsObject(c.env).endSilence(idOf(c));
  return c.redirect('/console/alerts', 303);
}
