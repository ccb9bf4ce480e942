/** Who answers: stable and the canary as a bar of percentages. */
import { html } from 'hono/html';
import { percentOf, type Canary, type Rollout } from '../../src/rollout/state.ts';
import { badge, digest, integer, type Markup } from './page.ts';

/** The bar, what it shows in words, and where the plan stands. */
export function servingBar({ stable, canary }: Rollout): Markup {
  if (stable === null && !canary) return html`<p>No release is active.</p>`;
  const share = canary ? percentOf(canary) : 0;
  return html`<svg
      class="bar"
      viewBox="0 0 100 6"
      preserveAspectRatio="none"
      role="img"
      aria-label="${100 - share} % stable, ${share} % canary"
    >
      <defs>
        <pattern id="hatch" width="1.2" height="6" patternUnits="userSpaceOnUse" patternTransform="skewX(-40)">
          <rect class="canary" width="1.2" height="6" />
          <rect class="stripe" width=".4" height="6" />
        </pattern>
      </defs>
      <rect class="stable" width="100" height="6" />
      <rect class="edge" x="${100 - share}" width="${share}" height="6" fill="url(#hatch)" />
    </svg>
    <ul class="answers">
      <li>
        <span class="swatch stable" aria-hidden="true"></span><b>${100 - share} %</b> stable
        ${stable === null ? 'none' : digest(stable)}
      </li>
      ${canary ? html`<li><span class="swatch canary" aria-hidden="true"></span><b>${share} %</b> canary ${digest(canary.digest)}</li>` : ''}
    </ul>
    ${canary ? planOf(canary) : ''}`;
}

function planOf({ plan, stepIndex, evidence, paused }: Canary): Markup {
  const { canaryPercent, minRequests } = plan[stepIndex]!;
  const [sample, unit] =
    canaryPercent === 0 ? [evidence.canary.compared, 'comparisons'] : [evidence.canary.requests, 'requests'];
  return html`<ol class="steps" aria-label="Steps of the plan">
      ${plan.map((step, index) => {
        const name = step.canaryPercent === 0 ? 'shadow' : `${step.canaryPercent} %`;
        if (index < stepIndex)
          return html`<li class="done">
            <span aria-hidden="true">✓</span> ${name}<span class="hidden">, done</span>
          </li>`;
        return index === stepIndex ? html`<li aria-current="step">${name}</li>` : html`<li>${name}</li>`;
      })}
      <li>everyone</li>
    </ol>
    <p>
      ${paused ? badge('warn', 'Paused') : badge('good', 'Running')} ${integer(sample)} of at least
      ${integer(minRequests)} ${unit} in this
      step${
        evidence.canary.compared
          ? html`; ${integer(evidence.canary.disagreed)} of ${integer(evidence.canary.compared)} comparisons gave
            another label`
          : ''
      }.
    </p>`;
}
