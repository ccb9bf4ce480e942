/** A browser as far as tests of the console's answers need one: it keeps the cookie and says where a form is from. */
import type { Edge } from './edge.ts';

export type Page = { status: number; headers: Headers; text: string };
export type Browsing = {
  get(path: string, headers?: Record<string, string>): Promise<Page>;
  /** Posts a form; with `formKey` that of this session, unless the fields name another. */
  post(path: string, fields: Record<string, string | Blob>, headers?: Record<string, string>): Promise<Page>;
  signIn(token: string): Promise<Page>;
  cookie(): string;
};

/** The hidden field of a page's forms. */
const formKeyIn = (text: string): string => /name="formKey" value="([^"]+)"/.exec(text)?.[1] ?? '';

export function browse(edge: Edge, cookie = ''): Browsing {
  let formKey = '';
  const send = async (path: string, init: RequestInit): Promise<Page> => {
    const headers = { ...(init.headers as Record<string, string>), ...(cookie && { cookie }) };
    const response = await fetch(new URL(path, edge.url), { ...init, headers, redirect: 'manual' });
    const set = response.headers.get('set-cookie');
    if (set !== null) cookie = set.split(';')[0]!;
    const text = await response.text();
    formKey = formKeyIn(text) || formKey;
    return { status: response.status, headers: response.headers, text };
  };
  const post: Browsing['post'] = (path, fields, headers = { origin: edge.url.origin }) => {
    const all = Object.entries({ formKey, ...fields });
    if (all.every(([, value]) => typeof value === 'string')) {
      return send(path, { method: 'POST', headers, body: new URLSearchParams(all as [string, string][]) });
    }
    const body = new FormData();
    for (const [name, value] of all) {
      if (typeof value === 'string') body.set(name, value);
      else body.set(name, value, 'image.png');
    }
    return send(path, { method: 'POST', headers, body });
  };
  const get: Browsing['get'] = (path, headers = {}) => send(path, { headers });
  return {
    get,
    post,
    cookie: () => cookie,
    async signIn(token) {
      const page = await post('/console/sign-in', { token });
      if (page.status === 303) await get(page.headers.get('location')!);
      return page;
    },
  };
}
