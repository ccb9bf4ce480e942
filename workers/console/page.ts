/** What all pages of the console share: the frame, its policy for browsers, and small pieces of text. */
import { html } from 'hono/html';
import type { Role } from '../../src/api/route.ts';
import type { Call, RefusalStatus } from '../http.ts';
import { assetFolder } from './assets.ts';
import type { Session } from './session.ts';

export type Markup = ReturnType<typeof html>;

/** Every page in the order of the navigation, and which roles may open it: those that the same thing asks of the API. */
export const PAGES = {
  now: { path: '/console/now', name: 'Now', roles: ['operate'] },
  triggers: { path: '/console/triggers', name: 'Triggers', roles: ['operate'] },
  alerts: { path: '/console/alerts', name: 'Alerts', roles: ['operate'] },
  rollout: { path: '/console/rollout', name: 'Rollout', roles: ['operate', 'publish'] },
  try: { path: '/console/try', name: 'Try it', roles: ['classify'] },
} as const satisfies Record<string, { path: string; name: string; roles: readonly Role[] }>;
export type PageId = keyof typeof PAGES;

/** The pages that somebody may open. */
export const pagesOf = ({ roles }: Pick<Session, 'roles'>): PageId[] =>
  (Object.keys(PAGES) as PageId[]).filter((page) => PAGES[page].roles.some((role) => roles.includes(role)));

export type Shown = {
  title: string;
  body: Markup;
  session?: Session | undefined;
  page?: PageId;
  scripts?: readonly string[];
  status?: RefusalStatus | 200;
};

/** Answers a page. It loads nothing but what carries the nonce of this answer, and its scripts can make no markup out of text. */
export async function show(c: Call, { title, body, session, page, scripts = [], status = 200 }: Shown) {
  const nonce = crypto.randomUUID();
  const folder = await assetFolder();
  const policy = [
    "default-src 'none'",
    `script-src 'nonce-${nonce}'`,
    `style-src 'nonce-${nonce}'`,
    "img-src 'self' data: blob:",
    "connect-src 'self'",
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ];
  const markup = html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <title>${title} · Trigger Guard</title>
        <link rel="icon" href="data:," />
        <link rel="stylesheet" nonce="${nonce}" href="${folder}/style.css" />
        ${scripts.map((name) => html`<script type="module" nonce="${nonce}" src="${folder}/${name}"></script>`)}
      </head>
      <body>
        <a class="skip" href="#content">Skip to the content</a>
        ${session ? header(session, page) : ''}
        <main id="content" tabindex="-1">${body}</main>
      </body>
    </html>`;
  c.header('content-security-policy', policy.join('; '));
  // Unlike the API's, so that browsers say which origin a form is from.
  c.header('referrer-policy', 'same-origin');
  return c.html(markup, status);
}

const header = (session: Session, current: PageId | undefined): Markup =>
  html`<header class="top">
    <p class="brand"><span class="mark" aria-hidden="true"></span>Trigger Guard</p>
    <nav aria-label="Console">
      ${pagesOf(session).map((id) => {
        const { path, name } = PAGES[id];
        return id === current
          ? html`<a href="${path}" aria-current="page">${name}</a>`
          : html`<a href="${path}">${name}</a>`;
      })}
    </nav>
    <form class="who" method="post" action="/console/sign-out">
      ${formKey(session)}
      <span><span class="held">${session.roles.join(', ')} </span><code>${session.name}</code></span>
      <button class="quiet">Sign out</button>
    </form>
  </header>`;

/** What every form that changes something carries. */
export const formKey = ({ formKey }: Session): Markup =>
  html`<input type="hidden" name="formKey" value="${formKey}" />`;

/** A field of a form as text; '' when it is missing or a file. */
export function textOf(form: FormData, name: string): string {
  const value = form.get(name);
  return typeof value === 'string' ? value : '';
}

export const percent = (rate: number | undefined, digits = 1): string =>
  rate === undefined ? '–' : `${(100 * rate).toFixed(digits)} %`;

/** `9,876`. */
export const integer = (value: number): string => value.toLocaleString('en-US');

/** A digest as people compare it; a pointer that rests on it shows the rest. */
export const digest = (value: string): Markup => html`<code title="${value}">${value.slice(0, 12)}</code>`;

/** `22 Nov, 16:52:28 UTC`, and how far from now that is. */
export function instant(iso: string, nowMs: number): Markup {
  const [, , day, time] = /^(\d{4}-(\d\d-\d\d))T(\d\d:\d\d:\d\d)/.exec(iso) ?? [];
  if (day === undefined || time === undefined) return html`${iso}`;
  const [month, date] = day.split('-').map(Number);
  const name = 'Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec'.split(' ')[month! - 1];
  const shown = `${date} ${name}, ${time} UTC`;
  return html`<time datetime="${iso}">${shown}</time> <span class="ago">${ago(nowMs - Date.parse(iso))}</span>`;
}

function ago(ms: number): string {
  const seconds = Math.round(Math.abs(ms) / 1000);
  if (seconds < 60) return ms < 0 ? 'in a minute' : 'just now';
  const units = [
    ['days', 86_400],
    ['h', 3600],
    ['min', 60],
  ] as const;
  const [unit, size] = units.find(([unit, size]) => seconds >= (unit === 'days' ? 2 * size : size))!;
  const amount = `${Math.floor(seconds / size)} ${unit}`;
  return ms < 0 ? `in ${amount}` : `${amount} ago`;
}

export type Tone = 'good' | 'warn' | 'bad' | 'plain';
const MARKS: Record<Tone, string> = { good: '✓', warn: '!', bad: '▲', plain: '·' };

/** A word with a mark and a colour; each says the same. */
export const badge = (tone: Tone, text: string): Markup =>
  html`<span class="badge ${tone}"><span aria-hidden="true">${MARKS[tone]}</span> ${text}</span>`;

/** The one thing that a page says first. */
export const verdict = (tone: Tone, title: string, text: Markup | string): Markup =>
  html`<section class="verdict ${tone}" data-live="tone">
    <h1>
      <span class="glyph" aria-hidden="true" data-live="mark">${MARKS[tone]}</span
      ><span data-live="title">${title}</span>
    </h1>
    <p data-live="text">${text}</p>
  </section>`;
export const markOf = (tone: Tone): string => MARKS[tone];
