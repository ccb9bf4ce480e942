import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { rolloutResponse } from '../../src/api/rollout.ts';
import { encodePng } from '../../src/image.ts';
import { shippedBundle } from '../support/bundle.ts';
import { createKey, signedRelease } from '../support/release.ts';
import { browse, type Page } from './browse.ts';
import { activate, publish, secrets, sha256, startEdge, TOKENS, type Edge } from './edge.ts';
import { mixedRelease } from './mixed.ts';

const HOSTILE = ['<script>alert(1)</script>', '"><img src=x onerror=alert(1)>', `'&lt;b&gt;`];
const SHELL = `</p><script>alert('reason')</script>`;
const CONSOLE_KEY = 'x'.repeat(32);
const FAILURES_A_MINUTE = 20;

const key = await createKey();
const { content, clean, suspect } = await mixedRelease();
const { manifest } = content;
const hostile = { ...content, manifest: { ...manifest, network: { ...manifest.network, labelNames: HOSTILE } } };
const first = await signedRelease(key, hostile);
const second = await signedRelease(key, {
  ...hostile,
  manifest: { ...hostile.manifest, createdAt: '2026-02-01T00:00:00Z' },
});
const png = (data: Uint8Array) =>
  new Blob([new Uint8Array(encodePng({ height: 8, width: 8, channels: 1, data }))], { type: 'image/png' });

let edge: Edge;
let strangers: Edge;
let off: Edge;

beforeAll(async () => {
  const bundle = await shippedBundle();
  const variables = { ...secrets(key), CONSOLE_SESSION_KEY: CONSOLE_KEY };
  edge = await startEdge(
    bundle,
    { ...variables, EVIDENCE_IMAGES_DAYS: '1' },
    { requestsPerMinute: { FAILED_AUTHENTICATION_LIMIT: FAILURES_A_MINUTE } },
  );
  // Knows the same sessions, but the operator's token was taken back.
  strangers = await startEdge(bundle, { ...variables, OPERATE_TOKEN_SHA256: sha256('another token') });
  off = await startEdge(bundle, { ...variables, CONSOLE_SESSION_KEY: 'too short' });
  for (const release of [first, second]) await publish(edge, release);
  await activate(edge, first.digest);
});
afterAll(() => Promise.all([edge, strangers, off].map(({ miniflare }) => miniflare.dispose())));

async function signedIn(token: string) {
  const browser = browse(edge);
  const page = await browser.signIn(token);
  expect(page.status).toBe(303);
  return { ...browser, home: page.headers.get('location') };
}

const rollout = async () =>
  rolloutResponse.parse((await edge.send('GET', '/v1/rollouts', { token: TOKENS.operate })).body);

describe('signing in', () => {
  test('every page asks for it, and then opens the page that was asked for', async () => {
    const browser = browse(edge);
    for (const page of ['now', 'now/data', 'triggers', 'alerts', 'alerts/1', 'rollout', 'rollout/confirm', 'try']) {
      const { status, headers } = await browser.get(`/console/${page}`);
      expect([status, headers.get('location')]).toEqual([
        303,
        `/console/sign-in?next=${encodeURIComponent(`/console/${page}`)}`,
      ]);
    }
    const ask = (next: string) => browse(edge).post('/console/sign-in', { token: TOKENS.operate, next });
    expect((await ask('/console/alerts/1')).headers.get('location')).toBe('/console/alerts/1');
    for (const foreign of [
      'https://elsewhere.example/',
      '//elsewhere.example',
      '/console/../v1/alerts',
      '/v1/alerts',
    ]) {
      expect((await ask(foreign)).headers.get('location')).toBe('/console/now');
    }
  });

  test('a link from elsewhere opens its page once more, because browsers then send the cookie', async () => {
    const page = await browse(edge).get('/console/alerts/1', { 'sec-fetch-site': 'cross-site' });
    expect([page.status, page.headers.get('refresh')]).toEqual([200, '0']);
  });

  test('leads each role to its own pages and refuses it the others', async () => {
    const pages = { operate: ['now', 'triggers', 'alerts', 'rollout'], publish: ['rollout'], classify: ['try'] };
    for (const [role, allowed] of Object.entries(pages)) {
      const browser = await signedIn(TOKENS[role as keyof typeof TOKENS]);
      expect(browser.home).toBe(`/console/${allowed[0]}`);
      for (const page of ['now', 'now/data', 'triggers', 'alerts', 'rollout', 'try']) {
        const { status, text } = await browser.get(`/console/${page}`);
        expect([role, page, status]).toEqual([role, page, allowed.includes(page.split('/')[0]!) ? 200 : 403]);
        if (status === 200 && page !== 'now/data') {
          expect([...text.matchAll(/<a href="\/console\/(\w+)"/g)].map(([, name]) => name)).toEqual(allowed);
        }
      }
    }
  });

  test('gives a cookie that scripts, other sites and plain HTTP never see, without the token in it', async () => {
    const { headers } = await browse(edge).post('/console/sign-in', { token: TOKENS.operate });
    const cookie = headers.get('set-cookie')!;
    for (const part of ['__Host-console=', 'HttpOnly', 'Secure', 'SameSite=Strict', 'Path=/', 'Max-Age=']) {
      expect(cookie).toContain(part);
    }
    const [, payload] = cookie.split(';')[0]!.split('.');
    expect(Buffer.from(payload!, 'base64url').toString()).not.toContain(TOKENS.operate);
    expect(edge.logs.join('\n')).not.toContain(TOKENS.operate);
  });

  test('a cookie that was changed, or whose token was taken back, is none', async () => {
    const browser = await signedIn(TOKENS.operate);
    expect((await browser.get('/console/now')).status).toBe(200);
    expect((await browse(strangers, browser.cookie()).get('/console/now')).status).toBe(303);
    const [head, payload, signature] = browser.cookie().split('=')[1]!.split('.');
    const session = JSON.parse(Buffer.from(payload!, 'base64url').toString()) as object;
    const forged = Buffer.from(JSON.stringify({ ...session, digest: sha256(TOKENS.publish) })).toString('base64url');
    const unsigned = Buffer.from(JSON.stringify({ alg: 'none' })).toString('base64url');
    for (const value of [`${head}.${forged}.${signature}`, `${unsigned}.${forged}.`, 'nonsense']) {
      expect((await browse(edge, `__Host-console=${value}`).get('/console/rollout')).status).toBe(303);
    }
  });

  test('is refused with 401 for an unknown token, and with 429 for too many of them', async () => {
    const fail = () =>
      browse(edge).post(
        '/console/sign-in',
        { token: 'wrong' },
        { origin: edge.url.origin, 'cf-connecting-ip': '203.0.113.9' },
      );
    const page = await fail();
    expect([page.status, page.headers.get('set-cookie')]).toEqual([401, null]);
    expect(page.text).toContain('this token is not known here');
    const more = await Promise.all(Array.from({ length: FAILURES_A_MINUTE + 1 }, fail));
    expect(more.map(({ status }) => status)).toContain(429);
  });

  test('ends with signing out', async () => {
    const browser = await signedIn(TOKENS.operate);
    expect((await browser.post('/console/sign-out', {})).headers.get('set-cookie')).toMatch(
      /^__Host-console=; Max-Age=0/,
    );
    expect((await browser.get('/console/now')).status).toBe(303);
  });

  test('a deployment without a key for sessions has no console', async () => {
    const { status, text } = await browse(off).post('/console/sign-in', { token: TOKENS.operate });
    expect([status, text.includes('CONSOLE_SESSION_KEY')]).toEqual([503, true]);
  });
});

describe('a form', () => {
  const change = { operation: 'start', digest: second.digest, way: 'steps', reason: SHELL };

  test('from another origin or another session changes nothing', async () => {
    const browser = await signedIn(TOKENS.operate);
    const before = await rollout();
    const fields = { ...change, revision: String(before.revision) };
    const other = await signedIn(TOKENS.operate);
    const otherKey = /name="formKey" value="([^"]+)"/.exec((await other.get('/console/now')).text)![1]!;
    for (const [more, headers] of [
      [{}, {}],
      [{}, { origin: 'https://elsewhere.example' }],
      [{}, { origin: 'null' }],
      [{ formKey: '' }, { origin: edge.url.origin }],
      [{ formKey: otherKey }, { origin: edge.url.origin }],
    ] as const) {
      expect((await browser.post('/console/rollout', { ...fields, ...more }, headers)).status).toBe(403);
    }
    expect((await browse(edge).post('/console/rollout', fields)).status).toBe(401);
    expect(await rollout()).toEqual(before);
  });

  test('of a role that may only watch changes nothing', async () => {
    const before = await rollout();
    const publisher = await signedIn(TOKENS.publish);
    expect((await publisher.get('/console/rollout')).text).not.toContain('name="operation"');
    expect((await publisher.get('/console/rollout/confirm?operation=undo')).status).toBe(403);
    expect((await publisher.post('/console/rollout', { ...change, revision: String(before.revision) })).status).toBe(
      403,
    );
    expect(await rollout()).toEqual(before);
  });

  test('changes the rollout once it is confirmed, with actor and reason, and not a second time', async () => {
    const browser = await signedIn(TOKENS.operate);
    const confirm = await browser.get(`/console/rollout/confirm?operation=start&way=steps&digest=${second.digest}`);
    const revision = /name="revision" value="(\d+)"/.exec(confirm.text)![1]!;
    expect((await browser.post('/console/rollout', { ...change, revision, reason: ' ' })).status).toBe(422);
    expect((await browser.post('/console/rollout', { ...change, revision })).status).toBe(303);
    const { canary, history } = await rollout();
    expect(canary?.digest).toBe(second.digest);
    expect(history.at(-1)).toMatchObject({
      type: 'start',
      reason: SHELL,
      actor: `operate:${sha256(TOKENS.operate).slice(0, 8)}`,
    });
    expect((await browser.post('/console/rollout', { ...change, operation: 'abort', revision })).status).toBe(409);
    expect((await browser.post('/console/rollout', { operation: 'explode', revision, reason: 'x' })).status).toBe(422);
    const running = String((await rollout()).revision);
    expect(
      (
        await browser.post('/console/rollout', {
          operation: 'abort',
          digest: '',
          way: '',
          revision: running,
          reason: 'enough',
        })
      ).status,
    ).toBe(303);
    expect(await rollout()).toMatchObject({ canary: null, phase: 'aborted' });
  });
});

describe('what people see', () => {
  const tryIt = async (image: Uint8Array): Promise<Page> =>
    (await signedIn(TOKENS.classify)).post('/console/try', { image: png(image) });

  test('an image that is tried gets its label and verdict, and a suspect becomes an alert with its evidence', async () => {
    expect((await tryIt(clean)).text).toContain('The guard finds no trigger');
    expect((await tryIt(suspect)).text).toMatch(/The image carries trigger <code>(bag|coat)-1<\/code>/);
    expect((await tryIt(new Uint8Array(64))).status).toBe(200);
    const broken = await (await signedIn(TOKENS.classify)).post('/console/try', { image: new Blob(['no image']) });
    expect([broken.status, broken.text.includes('expected PNG or JPEG')]).toEqual([422, true]);

    const operator = await signedIn(TOKENS.operate);
    let list = await operator.get('/console/alerts?kind=trigger-match');
    for (let tries = 0; !list.text.includes('/console/alerts/') && tries < 50; tries++) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      list = await operator.get('/console/alerts?kind=trigger-match');
    }
    const id = /href="\/console\/alerts\/(\d+)"/.exec(list.text)![1]!;
    const alert = await operator.get(`/console/alerts/${id}`);
    expect(alert.text).toContain('Victim would have answered');
    expect(alert.text.match(/src="data:image\/png/g)).toHaveLength(3);

    expect((await operator.post(`/console/alerts/${id}/acknowledge`, {})).status).toBe(303);
    expect((await operator.get(`/console/alerts/${id}`)).text).toContain('acknowledged by');
    const silence = { scope: 'kind', kind: 'trigger-match', key: '', minutes: '60', reason: SHELL };
    expect((await operator.post('/console/silences', silence)).status).toBe(303);
    const silenced = /\/console\/silences\/(\d+)\/end/.exec((await operator.get('/console/alerts')).text)![1]!;
    expect((await operator.post(`/console/silences/${silenced}/end`, {})).status).toBe(303);
    expect((await operator.post(`/console/alerts/${id}/resolve`, {})).status).toBe(303);
    expect((await operator.get(`/console/alerts/${id}`)).text).toContain('Over since');
    expect((await operator.get('/console/alerts/999999')).status).toBe(404);
    expect((await operator.get('/console/alerts?status=lost')).status).toBe(400);
  });

  test('names and reasons of others are text on every page', async () => {
    const operator = await signedIn(TOKENS.operate);
    const classifier = await signedIn(TOKENS.classify);
    const texts = [
      ...(await Promise.all(
        ['now', 'triggers', 'alerts', 'alerts/1', 'rollout', 'nothing'].map((page) => operator.get(`/console/${page}`)),
      )),
      await classifier.post('/console/try', { image: png(suspect) }),
      await classifier.get('/console/"><script>alert(2)</script>'),
    ].map(({ text }) => text);
    expect(texts.join('\n')).toContain('&lt;script&gt;alert');
    for (const text of texts) {
      expect(text).not.toMatch(/<script>|<img src=x|<\/p><script/);
      // Every script is one of the two kinds that a page has.
      expect(
        [...text.matchAll(/<script[^>]*>/g)].every(([tag]) =>
          /^<script type="(module" nonce="[\w-]{36}" src="\/console\/assets\/\w+\/\w+\.mjs"|application\/json" id="live")>$/.test(
            tag,
          ),
        ),
      ).toBe(true);
    }
  });

  test('loads only what this page names, by a nonce of its own, and is light', async () => {
    const operator = await signedIn(TOKENS.operate);
    const [page, again] = [await operator.get('/console/now'), await operator.get('/console/now')];
    const policy = page.headers.get('content-security-policy')!;
    expect(policy).toMatch(/^default-src 'none'; script-src 'nonce-[\w-]{36}'; style-src 'nonce-[\w-]{36}'; /);
    expect(policy).not.toMatch(/unsafe|https?:/);
    expect(again.headers.get('content-security-policy')).not.toBe(policy);
    expect(page.text).not.toMatch(/ style=|https?:\/\/|\son\w+=/);
    expect(page.headers.get('cache-control')).toBe('no-store');

    const assets = [...page.text.matchAll(/(?:href|src)="(\/console\/assets\/[^"]+)"/g)].map(([, path]) => path!);
    const chart = assets[0]!.replace('style.css', 'chart.mjs');
    let bytes = gzipSync(page.text).length;
    for (const path of [...assets, chart]) {
      const asset = await operator.get(path);
      expect([asset.status, asset.headers.get('cache-control')]).toEqual([200, 'public, max-age=31536000, immutable']);
      bytes += gzipSync(asset.text).length;
    }
    expect(bytes).toBeLessThan(14_000);
    expect((await operator.get(`${assets[0]!}.map`)).status).toBe(404);
    expect((await operator.get('/console/assets/constructor/constructor')).status).toBe(404);
    const earlier = await operator.get('/console/assets/0123/style.css');
    expect([earlier.status, earlier.headers.get('cache-control')]).toEqual([200, 'no-store']);
  });
});
