/** Now: what serves, and how it does. One view gives the page its first state and the script its next ones. */
import { html, raw } from 'hono/html';
import { addCounts, errorCount, latencyQuantileMs, noCounts, type Counts } from '../../src/rollout/health.ts';
import { percentOf, type Rollout } from '../../src/rollout/state.ts';
import { alertsObject } from '../alerts.ts';
import { readHealth, type Health } from '../health-object.ts';
import type { Call } from '../http.ts';
import { readRollout } from '../rollout.ts';
import { servingBar } from './bar.ts';
import { integer, markOf, percent, show, verdict, type Markup, type Tone } from './page.ts';
import type { Session } from './session.ts';

const MINUTES = 60;
const MINUTE_MS = 60_000;

type OpenAlerts = { severity: string; count: number }[];
type Minute = {
  minute: string;
  stable: number;
  canary: number;
  suspectRate: number | null;
  p50: number | null;
  p95: number | null;
};
type Live = {
  tone: Tone;
  mark: string;
  title: string;
  text: string;
  figures: Record<string, string>;
  series: Minute[];
};

/** What happened in the last hour: a verdict, some figures, and a minute's counts each. */
function view(rollout: Rollout, health: Health, open: OpenAlerts, nowMs: number): Live {
  const total = health.series.reduce((sum, { counts }) => addCounts(sum, counts), noCounts());
  const { tone, title, text } = judge(rollout, open, total);
  return { tone, mark: markOf(tone), title, text, figures: figuresOf(total), series: seriesOf(rollout, health, nowMs) };
}

function judge(rollout: Rollout, open: OpenAlerts, hour: Counts): { tone: Tone; title: string; text: string } {
  const { stable, canary } = rollout;
  const count = (severity: string): number => open.find((entry) => entry.severity === severity)?.count ?? 0;
  const [critical, warnings] = [count('critical'), count('warning')];
  const seen = hour.requests
    ? `${integer(hour.requests)} requests in the last hour; ${percent(suspectRate(hour))} of the images suspect.`
    : 'No requests in the last hour.';
  if (stable === null) {
    return {
      tone: 'bad',
      title: 'No release serves',
      text: 'Every request for a label is refused. Publish a release and start it.',
    };
  }
  if (critical)
    return {
      tone: 'bad',
      title: `${plural(critical, 'critical alert')} open`,
      text: `Nobody takes care of ${critical === 1 ? 'it' : 'them'} yet. ${seen}`,
    };
  if (canary?.paused)
    return {
      tone: 'warn',
      title: 'The rollout waits for a person',
      text: `It paused: ${canary.paused.reason || 'no reason was given'}. ${seen}`,
    };
  if (warnings) return { tone: 'warn', title: `${plural(warnings, 'warning')} open`, text: seen };
  if (canary)
    return {
      tone: 'good',
      title: 'A new release is being tried',
      text: `Step ${canary.stepIndex + 1} of ${canary.plan.length}. ${seen}`,
    };
  return { tone: 'good', title: 'All is calm', text: seen };
}

const plural = (count: number, noun: string): string => `${integer(count)} ${noun}${count === 1 ? ' is' : 's are'}`;
const suspectRate = ({ suspects, images }: Counts): number | undefined => (images ? suspects / images : undefined);
const milliseconds = (value: number | undefined): string =>
  value === undefined ? '–' : `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;

const figuresOf = (hour: Counts): Record<string, string> => ({
  requests: integer(hour.requests),
  suspects: percent(suspectRate(hour), 2),
  p50: milliseconds(latencyQuantileMs(hour.latency, 0.5)),
  p95: milliseconds(latencyQuantileMs(hour.latency, 0.95)),
  errors: integer(errorCount(hour)),
});

/** Every minute of the last hour, also those in which nothing happened. */
function seriesOf({ canary }: Rollout, { series }: Health, nowMs: number): Minute[] {
  const latest = nowMs - (nowMs % MINUTE_MS);
  return Array.from({ length: MINUTES }, (_, index) => {
    const minuteMs = latest - (MINUTES - 1 - index) * MINUTE_MS;
    const entries = series.filter((entry) => entry.minuteMs === minuteMs);
    const ofCanary = entries.filter(({ digest }) => digest === canary?.digest);
    const all = entries.reduce((sum, { counts }) => addCounts(sum, counts), noCounts());
    const tried = ofCanary.reduce((sum, { counts }) => sum + counts.requests, 0);
    return {
      minute: new Date(minuteMs).toISOString(),
      stable: all.requests - tried,
      canary: tried,
      suspectRate: suspectRate(all) ?? null,
      p50: latencyQuantileMs(all.latency, 0.5) ?? null,
      p95: latencyQuantileMs(all.latency, 0.95) ?? null,
    };
  });
}

async function readView(c: Call): Promise<{ rollout: Rollout; live: Live }> {
  const figures = alertsObject(c.env).figures();
  const [rollout, health, { open }] = await Promise.all([readRollout(c.env), readHealth(c.env, MINUTES), figures]);
  return { rollout, live: view(rollout, health, open, Date.now()) };
}

/** What the bar shows: when that changes, the script opens the page anew. */
const barOf = ({ stable, canary }: Rollout): string =>
  [stable, canary?.digest, canary && percentOf(canary), canary?.paused && 'paused'].join(' ');

/** GET /console/now/data */
export async function getNowData(c: Call): Promise<Response> {
  c.set('operation', 'console-data');
  const { rollout, live } = await readView(c);
  return c.json({ ...live, bar: barOf(rollout) });
}

const TILES = [
  ['requests', 'Requests', 'in the last hour'],
  ['suspects', 'Suspect', 'of all images'],
  ['p50', 'Latency', 'half are faster'],
  ['p95', 'Latency, 95 %', '19 of 20 are faster'],
  ['errors', 'Errors', 'no label was given'],
] as const;

/** GET /console/now */
export async function getNow(c: Call, session: Session): Promise<Response> {
  const { rollout, live } = await readView(c);
  const body = html`${verdict(live.tone, live.title, live.text)}
    <section class="card">
      <h2>Who answers</h2>
      ${servingBar(rollout)}
    </section>
    <section aria-label="The last hour">
      <dl class="tiles">
        ${TILES.map(
          ([id, name, note]) =>
            html`<div>
              <dt>${name}</dt>
              <dd><b data-figure="${id}">${live.figures[id]}</b><small>${note}</small></dd>
            </div>`,
        )}
      </dl>
    </section>
    <div class="charts" data-source="/console/now/data">
      ${chart('requests', 'Requests a minute', [
        ['one', 'stable'],
        ['two', 'canary'],
      ])}
      ${chart('suspects', 'Suspect images', [['one', 'share of all images']])}
      ${chart('latency', 'Latency', [
        ['one', 'half are faster'],
        ['two', '95 % are faster'],
      ])}
    </div>
    <noscript><p class="note">Without script the charts are not drawn; the table holds what they show.</p></noscript>
    <details class="card table">
      <summary>The last hour as a table</summary>
      ${table(live.series)}
    </details>
    <p class="note" data-live="state" role="status"></p>
    <script type="application/json" id="live">
      ${embedded({ series: live.series, bar: barOf(rollout) })}
    </script>`;
  return show(c, { title: 'Now', session, page: 'now', body, scripts: ['live.mjs'] });
}

/** JSON in a script element: escaping as in text would spoil it, and a `<` could end the element. */
const embedded = (value: unknown): Markup => raw(JSON.stringify(value).replaceAll('<', '\\u003c'));

const chart = (id: string, title: string, lines: readonly (readonly [string, string])[]): Markup =>
  html`<figure class="card chart" data-chart="${id}" hidden>
    <figcaption>
      <h2 id="chart-${id}">${title}</h2>
      <ul class="legend">
        ${lines.map(
          ([line, name]) =>
            html`<li>
              <svg class="key ${line}" viewBox="0 0 24 8" aria-hidden="true"><path d="M1 4H23" /></svg>${name}
            </li>`,
        )}
      </ul>
    </figcaption>
    <svg role="img" aria-labelledby="chart-${id}" viewBox="0 0 360 150"></svg>
    <output></output>
  </figure>`;

const table = (series: readonly Minute[]): Markup =>
  html`<div class="scroll" tabindex="0" role="region" aria-label="The last hour as a table">
    <table>
      <thead>
        <tr>
          <th scope="col">Minute (UTC)</th>
          <th scope="col">Stable</th>
          <th scope="col">Canary</th>
          <th scope="col">Suspect</th>
          <th scope="col">Half faster than</th>
          <th scope="col">95 % faster than</th>
        </tr>
      </thead>
      <tbody>
        ${series.toReversed().map(
          (row) =>
            html`<tr>
              <th scope="row">${row.minute.slice(11, 16)}</th>
              <td>${row.stable}</td>
              <td>${row.canary}</td>
              <td>${percent(row.suspectRate ?? undefined)}</td>
              <td>${milliseconds(row.p50 ?? undefined)}</td>
              <td>${milliseconds(row.p95 ?? undefined)}</td>
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
