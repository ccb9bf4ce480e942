/** Rollout: what runs, what may be done about it, and everything that was done, with who and why. */
import { html } from 'hono/html';
import { operationRequest, rolloutRequest } from '../../src/api/rollout.ts';
import { DEFAULT_PLAN } from '../../src/rollout/plan.ts';
import type { Operation } from '../../src/rollout/rollout.ts';
import { phaseOf, type Change, type Rollout } from '../../src/rollout/state.ts';
import { applyOperation, startRollout } from '../handlers/rollouts.ts';
import { firstIssue, Refusal, type Call } from '../http.ts';
import { storedReleases } from '../releases.ts';
import { readRollout } from '../rollout.ts';
import { servingBar } from './bar.ts';
import { badge, digest, formKey, instant, show, textOf, verdict, type Markup, type Tone } from './page.ts';
import type { Session } from './session.ts';

/** How a release may be started, and the plan of each; `null` serves everybody at once. */
const WAYS = {
  steps: { name: 'Step by step: 5 %, 25 %, 50 %, then everyone', plan: DEFAULT_PLAN },
  shadow: {
    name: 'In shadow first, then step by step',
    plan: [{ canaryPercent: 0, holdSeconds: 300, minRequests: 200, deadlineSeconds: 3600 }, ...DEFAULT_PLAN],
  },
  once: { name: 'Everyone at once', plan: null },
} as const;
type Way = keyof typeof WAYS;

type Choice = { name: string; tone: 'primary' | 'danger' | 'plain'; means: (rollout: Rollout) => Markup | string };

const canaryOf = ({ canary }: Rollout): Markup | string => (canary ? digest(canary.digest) : 'the canary');
const before = ({ previousStable }: Rollout): Markup | string =>
  previousStable === null ? 'no release' : digest(previousStable);

const OPERATIONS: Record<Operation, Choice> = {
  pause: {
    name: 'Pause',
    tone: 'plain',
    means: () => 'The plan stops where it is; clients keep the release that they have.',
  },
  resume: { name: 'Resume', tone: 'primary', means: () => 'The plan goes on, and the step counts anew.' },
  promote: {
    name: 'Promote',
    tone: 'plain',
    means: (rollout) => html`${canaryOf(rollout)} serves everybody at once, whatever the tests say so far.`,
  },
  abort: {
    name: 'Abort',
    tone: 'danger',
    means: (rollout) => html`Nobody gets ${canaryOf(rollout)} any more. It is not counted as failed.`,
  },
  'roll-back': {
    name: 'Roll back',
    tone: 'danger',
    means: (rollout) =>
      rollout.canary
        ? html`Nobody gets ${canaryOf(rollout)} any more, it is counted as failed, and an alert is raised.`
        : html`${before(rollout)} serves everybody again, the stable release is counted as failed, and an alert is
          raised.`,
  },
  undo: {
    name: 'Undo',
    tone: 'plain',
    means: (rollout) => html`The release before, ${before(rollout)}, serves everybody again.`,
  },
};

/** What makes sense now; the state machine has the last word. */
function possible({ canary, previousStable }: Rollout): Operation[] {
  if (canary) return [canary.paused ? 'resume' : 'pause', 'promote', 'abort', 'roll-back'];
  return previousStable === null ? [] : ['undo', 'roll-back'];
}

const mayChange = (session: Session): boolean => session.roles.includes('operate');

/** GET /console/rollout */
export async function getRolloutPage(c: Call, session: Session): Promise<Response> {
  const rollout = await readRollout(c.env);
  const { tone, title, text } = judge(rollout);
  const body = html`${verdict(tone, title, text)}
    <section class="card">
      <h2>Who answers</h2>
      ${servingBar(rollout)}
      ${mayChange(session) ? buttons(rollout) : html`<p class="note">You may watch. Changes ask for the role operate.</p>`}
    </section>
    ${mayChange(session) && !rollout.canary ? startForm(await storedReleases(c.env), rollout) : ''}
    <section>
      <h2>History</h2>
      ${
        rollout.history.length
          ? html`<ol class="timeline">
              ${rollout.history.toReversed().map(line)}
            </ol>`
          : html`<p class="note">Nothing has happened yet.</p>`
      }
    </section>`;
  return show(c, { title: 'Rollout', session, page: 'rollout', body });
}

function judge(rollout: Rollout): { tone: Tone; title: string; text: string } {
  const { canary, stable, history } = rollout;
  if (canary?.paused)
    return {
      tone: 'warn',
      title: 'The rollout is paused',
      text: `${canary.paused.reason || 'No reason was given'}. It waits for a person.`,
    };
  if (canary)
    return {
      tone: 'good',
      title: 'A rollout is running',
      text: 'It goes on by itself while the canary is as good as stable, and is rolled back when it is not.',
    };
  if (stable === null) return { tone: 'warn', title: 'Nothing serves yet', text: 'Publish a release, then start it.' };
  if (phaseOf(rollout) === 'rolled-back')
    return {
      tone: 'bad',
      title: 'The last rollout was rolled back',
      text: history.at(-1)!.reason || 'No reason was given.',
    };
  return { tone: 'good', title: 'One release serves everybody', text: 'No rollout is running.' };
}

const buttons = (rollout: Rollout): Markup | string =>
  possible(rollout).length === 0
    ? ''
    : html`<form class="buttons" method="get" action="/console/rollout/confirm">
        ${possible(rollout).map((operation) => {
          const { name, tone } = OPERATIONS[operation];
          return html`<button class="${tone}" name="operation" value="${operation}">${name}…</button>`;
        })}
      </form>`;

type Stored = Awaited<ReturnType<typeof storedReleases>>;

function startForm(releases: Stored, { stable, failed }: Rollout): Markup {
  const others = releases
    .filter(({ digest }) => digest !== stable)
    .sort((a, b) => (a.createdAt < b.createdAt ? 1 : -1));
  if (others.length === 0)
    return html`<section class="card">
      <h2>Start a release</h2>
      <p class="note">No other release is stored. <code>trigger-guard publish</code> stores one.</p>
    </section>`;
  const name = ({ digest, createdAt }: Stored[number]): string => {
    const sign = failed.some((entry) => entry.digest === digest) ? ', rolled back before' : '';
    return `${digest.slice(0, 12)}, made ${createdAt.slice(0, 16).replace('T', ' ')}${sign}`;
  };
  return html`<section class="card">
    <h2>Start a release</h2>
    <form class="fields" method="get" action="/console/rollout/confirm">
      <div>
        <label for="digest">Release</label
        ><select id="digest" name="digest">
          ${others.map((release) => html`<option value="${release.digest}">${name(release)}</option>`)}
        </select>
      </div>
      <div>
        <label for="way">How</label
        ><select id="way" name="way">
          ${Object.entries(WAYS).map(([way, { name }]) => html`<option value="${way}">${name}</option>`)}
        </select>
      </div>
      <button class="primary" name="operation" value="start">Start…</button>
    </form>
  </section>`;
}

const WORDS: Record<Change['type'], { words: string; tone: Tone }> = {
  activate: { words: 'Activated for everyone', tone: 'good' },
  start: { words: 'Rollout started', tone: 'plain' },
  advance: { words: 'Next step', tone: 'plain' },
  pause: { words: 'Paused', tone: 'warn' },
  resume: { words: 'Resumed', tone: 'plain' },
  promote: { words: 'Promoted to everyone', tone: 'good' },
  abort: { words: 'Aborted', tone: 'warn' },
  'roll-back': { words: 'Rolled back', tone: 'bad' },
  undo: { words: 'Undone', tone: 'warn' },
};

/** After these some clients have the canary and the others do not. */
const MID_WAY: readonly Change['type'][] = ['start', 'advance', 'pause', 'resume'];

function line(change: Change): Markup {
  const { words, tone } = WORDS[change.type];
  const actor = change.actor === 'rollout' ? 'by itself' : html`by <code>${change.actor}</code>`;
  return html`<li class="${tone}">
    <p>
      ${badge(tone, words)}
      ${digest(change.digest)}${MID_WAY.includes(change.type) ? html` at <b>${change.canaryPercent} %</b>` : ''}
    </p>
    ${change.reason ? html`<p class="reason">${change.reason}</p>` : ''}
    <p class="note">Revision ${change.revision}, ${actor}, ${instant(change.at, Date.now())}</p>
  </li>`;
}

type Asked = { operation: Operation | 'start'; digest: string; way: Way };

function askedOf(read: (name: string) => string): Asked {
  const [operation, digest, way] = [read('operation'), read('digest'), read('way')];
  if (operation !== 'start' && !Object.hasOwn(OPERATIONS, operation)) {
    throw new Refusal(422, 'invalid_request', 'operation: expected one that this page offers');
  }
  if (operation === 'start' && !Object.hasOwn(WAYS, way))
    throw new Refusal(422, 'invalid_request', 'way: expected one that this page offers');
  return { operation: operation as Asked['operation'], digest, way: way as Way };
}

/** GET /console/rollout/confirm: says what will happen, and asks why. The form holds for the revision that was shown. */
export async function confirmRollout(c: Call, session: Session): Promise<Response> {
  expectOperate(session);
  const asked = askedOf((name) => c.req.query(name) ?? '');
  const rollout = await readRollout(c.env);
  const { name, tone, means } = asked.operation === 'start' ? startChoice(asked) : OPERATIONS[asked.operation];
  const body = html`${verdict('warn', `${name}?`, means(rollout))}
    <form class="card fields" method="post" action="/console/rollout">
      ${formKey(session)}
      <input type="hidden" name="operation" value="${asked.operation}" />
      <input type="hidden" name="digest" value="${asked.digest}" />
      <input type="hidden" name="way" value="${asked.way}" />
      <input type="hidden" name="revision" value="${rollout.revision}" />
      <div>
        <label for="reason">Reason</label
        ><input id="reason" name="reason" maxlength="200" required autofocus aria-describedby="reason-note" />
      </div>
      <p class="note" id="reason-note">It stays in the history, beside your name.</p>
      <p class="buttons">
        <button class="${tone}">${name}</button> <a class="button" href="/console/rollout">Cancel</a>
      </p>
    </form>`;
  return show(c, { title: name, session, page: 'rollout', body });
}

const startChoice = ({ digest: release, way }: Asked): Choice => ({
  name: 'Start',
  tone: 'primary',
  means: () => html`Release ${digest(release)}. ${WAYS[way].name}.`,
});

function expectOperate(session: Session): void {
  if (!mayChange(session)) throw new Refusal(403, 'forbidden', 'changing the rollout asks for the role operate');
}

/** POST /console/rollout */
export async function postRolloutChange(c: Call, form: FormData, session: Session): Promise<Response> {
  expectOperate(session);
  const { operation, digest, way } = askedOf((name) => textOf(form, name));
  const said = { reason: textOf(form, 'reason').trim(), expectedRevision: Number(textOf(form, 'revision')) };
  if (said.reason === '') throw new Refusal(422, 'invalid_request', 'reason: expected why');
  if (operation === 'start') {
    const { plan } = WAYS[way];
    const request = rolloutRequest.safeParse({ digest, ...said, ...(plan ? { plan } : { canaryPercent: 100 }) });
    if (!request.success) throw new Refusal(422, 'invalid_request', firstIssue(request.error));
    await startRollout(c, request.data);
  } else {
    const request = operationRequest.safeParse({ operation, ...said });
    if (!request.success) throw new Refusal(422, 'invalid_request', firstIssue(request.error));
    await applyOperation(c, request.data);
  }
  return c.redirect('/console/rollout', 303);
}
