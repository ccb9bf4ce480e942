/** The console: pages for people, made here and signed in to by role. It decides nothing by itself; every page calls what the API calls. */
import { Hono } from 'hono';
import { html } from 'hono/html';
import { BODY_LIMIT_BYTES } from '../../src/api/route.ts';
import { callerOf } from '../auth.ts';
import type { Env } from '../env.ts';
import { readForm } from '../form.ts';
import { Refusal, type Call, type Variables } from '../http.ts';
import { getAlert } from './alert.ts';
import { acknowledge, endSilence, getAlerts, resolve, silence } from './alerts.ts';
import { getAsset } from './assets.ts';
import { getNow, getNowData } from './now.ts';
import { PAGES, pagesOf, show, textOf, verdict, type PageId } from './page.ts';
import { confirmRollout, getRolloutPage, postRolloutChange } from './rollout.ts';
import { closeSession, expectFormKey, expectOwnOrigin, openSession, readSession, type Session } from './session.ts';
import { signInPage } from './sign-in.ts';
import { getTriggers } from './triggers.ts';
import { getTry, postTry } from './try.ts';

type Handler = (c: Call, session: Session) => Response | Promise<Response>;
type Action = (c: Call, form: FormData, session: Session) => Response | Promise<Response>;

/** How a form of fields comes, and one with a file. */
const FIELDS = 'application/x-www-form-urlencoded';
const FILE = 'multipart/form-data';
const PARTS_MAX = 8;

export const consoleApp = new Hono<{ Bindings: Env; Variables: Variables }>();

/** A page for those with one of its roles. */
function page(id: PageId, handler: Handler): (c: Call) => Promise<Response> {
  return async (c) => {
    const session = await readSession(c);
    if (!session) return toSignIn(c);
    expectRole(c, session, id);
    return handler(c, session);
  };
}

/** What a form of a page does. */
function action(
  id: PageId,
  handler: Action,
  type: typeof FIELDS | typeof FILE = FIELDS,
): (c: Call) => Promise<Response> {
  return async (c) => {
    expectOwnOrigin(c);
    const session = await readSession(c);
    if (!session) throw new Refusal(401, 'unauthorized', 'your session is over: sign in again');
    expectRole(c, session, id);
    const limitBytes = type === FILE ? BODY_LIMIT_BYTES.classify : BODY_LIMIT_BYTES.json;
    const form = await readForm(c.req.raw, type, limitBytes, PARTS_MAX);
    expectFormKey(session, textOf(form, 'formKey'));
    return handler(c, form, session);
  };
}

/** Notes who acts, as the API does. */
function expectRole(c: Call, session: Session, id: PageId): void {
  const role = PAGES[id].roles.find((role) => session.roles.includes(role));
  if (!role) throw new Refusal(403, 'forbidden', `this page asks for the role ${PAGES[id].roles.join(' or ')}`);
  c.set('actor', `${role}:${session.name}`);
  c.set('operation', `console-${id}`);
}

const readFields = (c: Call): Promise<FormData> => readForm(c.req.raw, FIELDS, BODY_LIMIT_BYTES.json, PARTS_MAX);

/**
 * Browsers send the cookie only from pages of this worker, also when the link that was followed lies elsewhere, as in a message about an
 * alert; a page that opens itself again is of this worker.
 */
function toSignIn(c: Call): Response | Promise<Response> {
  if (c.req.header('sec-fetch-site') === 'cross-site') {
    c.header('refresh', '0');
    const again = html`<p><a href="${c.req.path}">Go on to the console</a></p>`;
    return show(c, { title: 'Console', body: again });
  }
  return c.redirect(`/console/sign-in?next=${encodeURIComponent(c.req.path)}`, 303);
}

/** Where to go after signing in: a page of the console, and of nobody else. */
const nextOf = (given: string | null | undefined): string | undefined =>
  given && /^\/console\/(alerts|triggers|rollout|now|try)(\/\d+)?$/.test(given) ? given : undefined;

async function getSignIn(c: Call): Promise<Response> {
  const session = await readSession(c);
  if (session) return c.redirect(homeOf(session), 303);
  return signInPage(c, nextOf(c.req.query('next')));
}

function homeOf(session: Pick<Session, 'roles'>): string {
  const [first] = pagesOf(session);
  if (!first) throw new Refusal(403, 'forbidden', 'no page of the console is for a token of this role');
  return PAGES[first].path;
}

async function postSignIn(c: Call): Promise<Response> {
  expectOwnOrigin(c);
  const form = await readFields(c);
  const next = nextOf(textOf(form, 'next'));
  try {
    const caller = await callerOf(c.req.raw, c.env, textOf(form, 'token').trim());
    const home = homeOf(caller);
    await openSession(c, caller);
    return c.redirect(next ?? home, 303);
  } catch (error) {
    if (error instanceof Refusal && [401, 403, 429].includes(error.status)) return signInPage(c, next, error);
    throw error;
  }
}

async function postSignOut(c: Call): Promise<Response> {
  expectOwnOrigin(c);
  const session = await readSession(c);
  if (session) expectFormKey(session, textOf(await readFields(c), 'formKey'));
  closeSession(c);
  return c.redirect('/console/sign-in', 303);
}

async function getHome(c: Call): Promise<Response> {
  const session = await readSession(c);
  return session ? c.redirect(homeOf(session), 303) : toSignIn(c);
}

const addresses: readonly [method: 'GET' | 'POST', path: string, handler: (c: Call) => Response | Promise<Response>][] =
  [
    ['GET', '/', getHome],
    ['GET', '/assets/:version/:name', getAsset],
    ['GET', '/sign-in', getSignIn],
    ['POST', '/sign-in', postSignIn],
    ['POST', '/sign-out', postSignOut],
    ['GET', '/now', page('now', getNow)],
    ['GET', '/now/data', page('now', getNowData)],
    ['GET', '/triggers', page('triggers', getTriggers)],
    ['GET', '/alerts', page('alerts', getAlerts)],
    ['GET', '/alerts/:id', page('alerts', getAlert)],
    ['POST', '/alerts/:id/acknowledge', action('alerts', acknowledge)],
    ['POST', '/alerts/:id/resolve', action('alerts', resolve)],
    ['POST', '/silences', action('alerts', silence)],
    ['POST', '/silences/:id/end', action('alerts', endSilence)],
    ['GET', '/rollout', page('rollout', getRolloutPage)],
    ['GET', '/rollout/confirm', page('rollout', confirmRollout)],
    ['POST', '/rollout', action('rollout', postRolloutChange)],
    ['GET', '/try', page('try', getTry)],
    ['POST', '/try', action('try', postTry, FILE)],
  ];
for (const [method, path, handler] of addresses) consoleApp.on(method, path, handler);

consoleApp.all('*', () => {
  throw new Refusal(404, 'not_found', 'there is no such page');
});

consoleApp.onError(async (thrown, c) => {
  const known = thrown instanceof Refusal;
  c.set('failure', known ? thrown.code : (thrown.stack ?? String(thrown)));
  const session = await readSession(c).catch(() => undefined);
  const said = known ? thrown.message : 'something went wrong here; the request id finds it in the logs';
  const body = html`${verdict('bad', known && thrown.status < 500 ? 'That did not work' : 'The console cannot answer', sentence(said))}
    <p><a href="/console">Back to the console</a></p>
    <p class="note">Request id <code>${c.get('requestId')}</code></p>`;
  return show(c, { title: 'Refused', body, session, status: known ? thrown.status : 500 });
});

const sentence = (text: string): string => `${text.slice(0, 1).toUpperCase()}${text.slice(1)}.`;
