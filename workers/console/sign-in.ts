/** The sign-in page. */
import { html } from 'hono/html';
import type { Call, Refusal } from '../http.ts';
import { show } from './page.ts';

/** Asks for a token; says why the last one was refused. */
export function signInPage(c: Call, next: string | undefined, refusal?: Refusal): Response | Promise<Response> {
  if (refusal) c.set('failure', refusal.code);
  const refused = refusal && (refusal.status === 401 ? 'this token is not known here' : refusal.message);
  const body = html`<section class="sign-in">
    <p class="brand"><span class="mark" aria-hidden="true"></span>Trigger Guard</p>
    <h1>Sign in to the console</h1>
    <form method="post" action="/console/sign-in">
      ${next === undefined ? '' : html`<input type="hidden" name="next" value="${next}" />`}
      <label for="token">Access token</label>
      <input
        id="token"
        name="token"
        type="password"
        autocomplete="current-password"
        spellcheck="false"
        maxlength="4096"
        required
        ${refused ? html`aria-invalid="true" aria-describedby="refused"` : ''}
        autofocus
      />
      ${refused ? html`<p id="refused" class="refused" role="alert">▲ Not signed in: ${refused}.</p>` : ''}
      <button class="primary">Sign in</button>
    </form>
    <dl class="roles">
      <div>
        <dt>operate</dt>
        <dd>sees everything, steers rollouts and alerts</dd>
      </div>
      <div>
        <dt>publish</dt>
        <dd>watches the rollout</dd>
      </div>
      <div>
        <dt>classify</dt>
        <dd>tries images</dd>
      </div>
    </dl>
    <p class="note">The token is not kept. A session lasts eight hours at most.</p>
  </section>`;
  return show(c, { title: 'Sign in', body, status: refusal?.status ?? 200 });
}
