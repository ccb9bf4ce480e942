/** Keeps the page "Now" up to date: asks every five seconds while somebody looks, and draws the charts. */
import { draw } from './chart.mjs';

const PERIOD_MS = 5000;

/** @typedef {{ minute: string, stable: number, canary: number, suspectRate: number | null, p50: number | null, p95: number | null }} Minute */
/** @typedef {{ tone: string, mark: string, title: string, text: string, figures: Record<string, string>, bar: string, series: Minute[] }} Live */

/** @type {Record<string, { lines: (keyof Minute)[], names: string[], write: (value: number) => string, least: number }>} */
const CHARTS = {
  requests: {
    lines: ['stable', 'canary'],
    names: ['stable', 'canary'],
    write: (value) => value.toLocaleString('en-US'),
    least: 2,
  },
  suspects: {
    lines: ['suspectRate'],
    names: ['suspect'],
    write: (value) => `${Number((100 * value).toFixed(2))} %`,
    least: 0.01,
  },
  latency: {
    lines: ['p50', 'p95'],
    names: ['half under', '95 % under'],
    write: (value) => `${Number(value.toFixed(1))} ms`,
    least: 2,
  },
};

/** @param {Minute[]} series */
function drawAll(series) {
  for (const figure of document.querySelectorAll('[data-chart]')) {
    const chart = CHARTS[figure.getAttribute('data-chart') ?? ''];
    const [svg, output] = [figure.querySelector('svg[role=img]'), figure.querySelector('output')];
    if (!chart || !(svg instanceof SVGSVGElement) || !(output instanceof HTMLOutputElement)) continue;
    const lines = chart.lines.map((key) => series.map((row) => /** @type {number | null} */ (row[key])));
    figure.removeAttribute('hidden');
    draw(svg, output, {
      minutes: series.map(({ minute }) => minute),
      lines,
      names: chart.names,
      write: chart.write,
      least: chart.least,
    });
  }
}

/**
 * @param {string} selector
 * @param {string} text
 */
function write(selector, text) {
  const element = document.querySelector(selector);
  if (element && element.textContent !== text) element.textContent = text;
}

/** @param {Live} live */
function update(live) {
  if (live.bar !== bar) return location.reload();
  document.querySelector('[data-live=tone]')?.setAttribute('class', `verdict ${live.tone}`);
  write('[data-live=mark]', live.mark);
  write('[data-live=title]', live.title);
  write('[data-live=text]', live.text);
  for (const [id, text] of Object.entries(live.figures)) write(`[data-figure="${id}"]`, text);
  drawAll(live.series);
}

async function poll() {
  if (document.hidden) return;
  try {
    const response = await fetch('/console/now/data', { redirect: 'manual' });
    // Only a session that is over sends elsewhere; the page itself then asks to sign in.
    if (response.type === 'opaqueredirect') return location.reload();
    if (!response.ok) throw new Error(String(response.status));
    update(/** @type {Live} */ (await response.json()));
    write('[data-live=state]', '');
  } catch {
    write('[data-live=state]', 'The worker does not answer; what you see may be old. Trying again.');
  }
}

const { series, bar } = /** @type {{ series: Minute[], bar: string }} */ (
  JSON.parse(document.getElementById('live')?.textContent ?? '{}')
);
drawAll(series);
setInterval(() => void poll(), PERIOD_MS);
document.addEventListener('visibilitychange', () => void poll());
