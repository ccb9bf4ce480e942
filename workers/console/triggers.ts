/** Triggers: what was recovered from the victim of each serving release, what unlearning did to it, and how often inputs carry it. */
import { html } from 'hono/html';
import type { AlertView } from '../../src/api/alerts.ts';
import { encodePng } from '../../src/image.ts';
import { encodeBase64 } from '../../src/release/encoding.ts';
import type { Fingerprint } from '../../src/trigger/fingerprint.ts';
import { triggerPicture } from '../../src/trigger/picture.ts';
import { alertsObject } from '../alerts.ts';
import type { Call } from '../http.ts';
import type { Model } from '../model.ts';
import { releaseModel } from '../releases.ts';
import { readRollout } from '../rollout.ts';
import { digest, instant, integer, percent, show, verdict, type Markup } from './page.ts';
import type { Session } from './session.ts';

const HOURS = 24;
const HOUR_MS = 3_600_000;
/** How many pages of alerts are read for the matches of a day. */
const PAGES_MAX = 5;
const PAGE = 200;

/** GET /console/triggers */
export async function getTriggers(c: Call, session: Session): Promise<Response> {
  const [{ stable, canary }, matches] = await Promise.all([readRollout(c.env), recentMatches(c)]);
  const roles = [
    ['Stable', stable],
    ['Canary', canary?.digest ?? null],
  ] as const;
  const sections: Markup[] = [];
  let triggers = 0;
  for (const [name, release] of roles) {
    if (release === null) continue;
    const model = await releaseModel(c.env, c.executionCtx, release);
    if (model.ok) triggers += model.value.guard.triggers.length;
    sections.push(
      html`<section>
        <h2>${name} release ${digest(release)}</h2>
        ${model.ok ? cards(model.value, matches) : html`<p class="refused">▲ It cannot be read: ${model.error}.</p>`}
      </section>`,
    );
  }
  const title = triggers === 1 ? 'One trigger is watched for' : `${integer(triggers)} triggers are watched for`;
  const text = 'Each was recovered from the model that was purified. An input that carries one is suspect.';
  const body = html`${verdict(triggers ? 'good' : 'warn', triggers ? title : 'No trigger is watched for', triggers ? text : 'No release serves, or its fingerprint is empty.')}
  ${sections}`;
  return show(c, { title: 'Triggers', session, page: 'triggers', body });
}

/** The matches of the last day, newest first. */
async function recentMatches(c: Call): Promise<AlertView[]> {
  const since = Date.now() - HOURS * HOUR_MS;
  const found: AlertView[] = [];
  let cursor: number | undefined;
  for (let page = 0; page < PAGES_MAX; page++) {
    const query = { limit: PAGE, cursor, kind: 'trigger-match', severity: undefined, status: undefined } as const;
    const views = (await alertsObject(c.env).list(query)) as AlertView[];
    found.push(...views.filter(({ lastSeen }) => Date.parse(lastSeen) >= since));
    cursor = views.at(-1)?.id;
    if (views.length < PAGE || Date.parse(views.at(-1)!.firstSeen) < since) break;
  }
  return found;
}

function cards({ digest: release, network, guard }: Model, matches: readonly AlertView[]): Markup {
  const { triggers, falsePositiveRate, falsePositiveBound } = guard.fingerprint;
  return html`<p class="note">
      One in ${integer(Math.round(1 / Math.max(falsePositiveRate, 1e-6)))} clean images is taken for suspect by design
      (at most ${percent(falsePositiveBound.upper, 2)}, with ${percent(falsePositiveBound.confidence, 0)} confidence
      from ${integer(falsePositiveBound.sampleSize)} images).
    </p>
    <div class="triggers">
      ${triggers.map((entry, index) => {
        const own = matches.filter(
          ({ alert }) => alert.kind === 'trigger-match' && alert.triggerId === entry.id && alert.release === release,
        );
        const picture = encodeBase64(encodePng(triggerPicture(guard.triggers[index]!)));
        return card(entry, network.labelNames[entry.targetLabel]!, picture, own);
      })}
    </div>`;
}

type Entry = Fingerprint['triggers'][number];

const FORMS = {
  blend: 'covers a place with a pattern',
  additive: 'adds a pattern to the whole image',
  warp: 'bends the image',
};

function card(
  { id, kind, targetLabel, victimHitRate, purifiedHitRate }: Entry,
  labelName: string,
  picture: string,
  matches: readonly AlertView[],
): Markup {
  const form = FORMS[kind];
  return html`<article class="card trigger">
    <img src="data:image/png;base64,${picture}" alt="Trigger ${id} on grey: it ${form}" width="224" height="224" />
    <div>
      <h3>leads to <em>${labelName}</em></h3>
      <p class="note"><code>${id}</code>, label ${targetLabel}; it ${form}</p>
      <dl class="rates">
        ${rate('Success before', victimHitRate, 'before')} ${rate('Success after', purifiedHitRate, 'after')}
      </dl>
      ${overTime(matches)}
    </div>
  </article>`;
}

const rate = (name: string, value: number, kind: string): Markup =>
  html`<div>
    <dt>${name}</dt>
    <dd>
      <svg class="rate ${kind}" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">
        <rect class="track" width="100" height="8" />
        <rect class="fill" width="${100 * value}" height="8" /></svg
      ><b>${percent(value)}</b>
    </dd>
  </div>`;

/** The matches of each hour of the last day; a record counts where it began. */
function overTime(matches: readonly AlertView[]): Markup {
  const nowMs = Date.now();
  const hours = Array.from({ length: HOURS }, () => 0);
  for (const { firstSeen, count } of matches) {
    const age = Math.min(HOURS - 1, Math.max(0, Math.floor((nowMs - Date.parse(firstSeen)) / HOUR_MS)));
    hours[HOURS - 1 - age]! += count;
  }
  const total = hours.reduce((sum, count) => sum + count, 0);
  if (total === 0) return html`<p class="matches">No match in the last day.</p>`;
  const most = Math.max(...hours);
  const bars = hours.map((count, hour) => {
    const height = count === 0 ? 0.6 : 3 + (25 * count) / most;
    return html`<rect
      class="${count ? 'some' : 'none'}"
      x="${hour * 5}"
      y="${30 - height}"
      width="4"
      height="${height}"
    />`;
  });
  const said = `${integer(total)} ${total === 1 ? 'match' : 'matches'} in the last day`;
  return html`<p class="matches">
    <svg class="hours" viewBox="0 0 120 30" role="img" aria-label="${said}, by the hour: ${hours.join(', ')}">
      ${bars}
    </svg>
    <b>${said}</b>, the latest ${instant(matches[0]!.lastSeen, nowMs)}
  </p>`;
}
