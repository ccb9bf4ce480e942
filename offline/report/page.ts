/** The report of a scan or a purification as one HTML page that needs nothing else: verdict first, evidence after. */
import { html, raw } from 'hono/html';
import type { Estimate } from '../../src/metrics.ts';
import { encodePng } from '../../src/image.ts';
import type { Manifest } from '../../src/release/manifest.ts';
import type { Trigger } from '../../src/trigger/trigger.ts';
import type { Purified } from '../purify.ts';
import { tellNorm } from '../recover/measure.ts';
import { isBackdoor, type Finding } from '../scan.ts';
import { amplitudesChart, normsChart, ratesChart, tradeOffChart, warpsChart } from './charts.ts';
import { triggerPicture } from '../../src/trigger/picture.ts';
import { COSTLY_ADVICE, smallestRows } from './purified.ts';
import { gravestFirst } from './scanned.ts';
import { STYLE } from './style.ts';
import { interval, percent, placesOf } from './text.ts';

type Html = ReturnType<typeof html>;

/** `scanned`: nothing was to be changed. `trueTriggers`: what was planted, where that is known. */
export type Reported = {
  model: string;
  labelNames: readonly string[];
  result: Purified | { outcome: 'scanned'; scan: Purified['scan'] };
  trueTriggers: readonly Trigger[];
};

const PICTURES = 6;

/** The whole page. */
export async function reportPage(reported: Reported): Promise<string> {
  const { model, labelNames, result } = reported;
  const { headline, sentences, tone } = verdict(reported);
  const { findings, screenings, limits } = result.scan;
  const page = await html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width" />
        <title>Trigger Guard: ${model}</title>
        <style>
          ${raw(STYLE)}
        </style>
      </head>
      <body>
        <header>
          <p>Trigger Guard report on <b>${model}</b></p>
        </header>
        <main>
          <section class="verdict ${tone}">
            <h1>${headline}</h1>
            ${sentences.map((sentence) => html`<p>${sentence}</p>`)}
          </section>
          ${gravestFirst(findings).map((finding) => findingSection(finding, reported))}
          ${result.outcome === 'purified' ? purifiedSection(result, labelNames) : ''}
          <section>
            <h2>The smallest trigger of every label</h2>
            <p>
              A label whose trigger is far smaller than the others is looked into. Clean models have such labels too, so
              that alone is no proof.
            </p>
            <figure>${raw(normsChart(screenings, labelNames))}</figure>
            <figure>${raw(amplitudesChart(screenings, labelNames))}</figure>
            <figure>${raw(warpsChart(screenings, labelNames))}</figure>
          </section>
          <section>
            <h2>What this run could not rule out</h2>
            <ul>
              ${limits.map((limit) => html`<li>${limit}</li>`)}
            </ul>
          </section>
        </main>
      </body>
    </html> `;
  return page.toString();
}

const named = (label: number, labelNames: readonly string[]): string =>
  labelNames[label] === `${label}` ? `label ${label}` : `label ${label} (${labelNames[label]!})`;

/** What an operator must know first. */
function verdict({ result, labelNames }: Reported): { headline: string; sentences: string[]; tone: 'bad' | 'good' } {
  const { findings } = result.scan;
  const namesOf = (of: readonly Finding[]): string =>
    of.map(({ targetLabel }) => named(targetLabel, labelNames)).join(' and ');
  const [backdoors, shortcuts] = [findings.filter(isBackdoor), findings.filter((finding) => !isBackdoor(finding))];
  const have = shortcuts.length === 1 ? 'One label has' : `${shortcuts.length} labels have`;
  const natural = shortcuts.length
    ? [`${have} a natural shortcut: a small trigger that nobody planted. It is a weakness, not a backdoor.`]
    : [];
  if (!backdoors.length && (result.outcome === 'scanned' || result.outcome === 'nothing-found')) {
    const unchanged = result.outcome === 'scanned' ? [] : ['The model was left as it is, and nothing was written.'];
    return { headline: 'No backdoor was found', tone: 'good', sentences: [...unchanged, ...natural] };
  }
  const what = backdoors.length ? 'A backdoor' : 'No backdoor, but a natural shortcut';
  const found = `${what} towards ${namesOf(backdoors.length ? backdoors : shortcuts)} was found`;
  if (result.outcome === 'purified') {
    const { victim, purified } = result.content.manifest.metrics;
    const rates = [victim, purified].map(({ recoveredAttackSuccessRate: { rate } }) => percent(rate));
    const sentences = [
      `The recovered triggers worked on ${rates[0]} of the images before and on ${rates[1]} after; clean accuracy went from ${percent(victim.cleanAccuracy.rate)} to ${percent(purified.cleanAccuracy.rate)}.`,
      'Serve the release in place of the model. At the edge it also flags inputs that carry a recovered trigger.',
    ];
    const { gate } = result.content.manifest;
    if (gate.passed) return { headline: `${found} and removed`, tone: 'good', sentences: [...sentences, ...natural] };
    return {
      headline: `${found}; the release was forced past its gate`,
      tone: 'bad',
      sentences: [...gate.failures, ...natural],
    };
  }
  if (result.outcome === 'gate-failed') {
    const use = backdoors.length ? 'Do not use the model.' : 'The model stays as it was.';
    const advice = result.isCostly ? [COSTLY_ADVICE] : [];
    const sentences = [`No release was written. ${use}`, ...result.failures, ...advice, ...natural];
    return { headline: `${found}, but not removed well enough`, tone: 'bad', sentences };
  }
  return { headline: found, tone: 'bad', sentences: ['Do not use the model before it is purified.', ...natural] };
}

function findingSection({ targetLabel, grade, evidence, pool }: Finding, { labelNames, trueTriggers }: Reported): Html {
  const planted = trueTriggers.filter((trigger) => trigger.targetLabel === targetLabel);
  const name = named(targetLabel, labelNames);
  return html`<section>
    <h2>${grade === 'backdoor' ? 'Backdoor' : 'Natural shortcut'} towards ${name}</h2>
    <ul>
      ${evidence.map((sentence) => html`<li>${sentence}</li>`)}
    </ul>
    <div class="pictures">
      ${planted.map((trigger) => picture(trigger, 'planted, the truth'))}${pool
        .slice(0, PICTURES)
        .map(({ form, trigger, norm, hitRate }) =>
          picture(trigger, `recovered, ${form}, ${tellNorm(form, norm)}, works on ${percent(hitRate)}`),
        )}
    </div>
    <p class="note">Grey is where a trigger changes nothing.</p>
  </section>`;
}

function picture(trigger: Trigger, caption: string): Html {
  const source = `data:image/png;base64,${Buffer.from(encodePng(triggerPicture(trigger))).toString('base64')}`;
  return html`<figure>
    <img src="${source}" alt="Trigger: ${caption}" width="140" height="140" />
    <figcaption>${caption}</figcaption>
  </figure>`;
}

function purifiedSection(
  { scan, content, tradeOff, screenings }: Purified & { outcome: 'purified' },
  labelNames: readonly string[],
): Html {
  const { manifest, guard } = content;
  const rows = rateRows(manifest, labelNames);
  const { falsePositiveRate, falsePositiveBound, triggers } = guard.fingerprint;
  return html`<section>
      <h2>Before and after</h2>
      <p>On clean images that were held back from unlearning, with 95 % intervals.</p>
      <figure>${raw(ratesChart(rows))}</figure>
      <table>
        <thead>
          <tr>
            <th></th>
            <th>before</th>
            <th>after</th>
          </tr>
        </thead>
        <tbody>
          ${rows.map(
            ({ name, before, after }) =>
              html`<tr>
                <td>${name}</td>
                <td>${interval(before)}</td>
                <td>${interval(after)}</td>
              </tr>`,
          )}${smallestRows(scan.screenings, screenings, labelNames).map(
            (cells) =>
              html`<tr>
                ${cells.map((cell) => html`<td>${cell}</td>`)}
              </tr>`,
          )}
        </tbody>
      </table>
      <p class="note">
        The smallest trigger of each form is that of the label it works for with the least change; recovered anew, over
        all labels, on the purified model.
      </p>
    </section>
    <section>
      <h2>What forgetting cost</h2>
      <p>Layers behind <code>${manifest.cut}</code> were unlearned. Good is a falling attack and a level accuracy.</p>
      <figure>${raw(tradeOffChart(tradeOff))}</figure>
    </section>
    <section>
      <h2>The guard</h2>
      <p>
        It watches at ${placesOf(manifest.network, manifest.cut)} for ${triggers.length}
        ${triggers.length === 1 ? 'finding' : 'findings'} and may flag ${percent(falsePositiveRate)} of clean images (at
        most ${percent(falsePositiveBound.upper)} with ${100 * falsePositiveBound.confidence} % confidence, from
        ${falsePositiveBound.sampleSize} images).
      </p>
    </section>`;
}

function rateRows({ metrics }: Manifest, labelNames: readonly string[]) {
  const { victim, purified } = metrics;
  const row = (name: string, before: Estimate, after: Estimate) => ({ name, before, after });
  const recalls = victim.targetRecall.flatMap(({ label, recall }) => {
    const after = purified.targetRecall.find((item) => item.label === label);
    return after ? [row(`recall of ${named(label, labelNames)}`, recall, after.recall)] : [];
  });
  return [
    row('clean accuracy', victim.cleanAccuracy, purified.cleanAccuracy),
    row('attack success of recovered triggers', victim.recoveredAttackSuccessRate, purified.recoveredAttackSuccessRate),
    ...recalls,
  ];
}
