/** What browsers load beside a page: a style sheet and small modules, under addresses that change with their content. */
import { Refusal, type Call } from '../http.ts';
import chart from './browser/chart.mjs';
import drop from './browser/drop.mjs';
import live from './browser/live.mjs';
import style from './browser/style.css';

const SCRIPT = 'text/javascript; charset=utf-8';
const assets: Readonly<Record<string, { text: string; type: string }>> = {
  'style.css': { text: style, type: 'text/css; charset=utf-8' },
  'chart.mjs': { text: chart, type: SCRIPT },
  'live.mjs': { text: live, type: SCRIPT },
  'drop.mjs': { text: drop, type: SCRIPT },
};

const isolate: { version?: string } = {};

/** The folder of this version of the files. */
export async function assetFolder(): Promise<string> {
  if (isolate.version === undefined) {
    const all = Object.values(assets).map(({ text }) => text);
    const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(all.join('\0')));
    isolate.version = Array.from(new Uint8Array(digest, 0, 6), (byte) => byte.toString(16).padStart(2, '0')).join('');
  }
  return `/console/assets/${isolate.version}`;
}

/** GET /console/assets/{version}/{name}: only what is asked for by the address of this version may be stored. */
export async function getAsset(c: Call): Promise<Response> {
  const name = c.req.param('name') ?? '';
  const asset = Object.hasOwn(assets, name) ? assets[name] : undefined;
  if (!asset) throw new Refusal(404, 'not_found', 'there is no such file');
  const current = c.req.path === `${await assetFolder()}/${name}`;
  const caching = current ? 'public, max-age=31536000, immutable' : 'no-store';
  return new Response(asset.text, { headers: { 'content-type': asset.type, 'cache-control': caching } });
}
