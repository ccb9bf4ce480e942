/** The console in a real browser, where this machine has one: keyboard, script, and what axe finds wrong for people with disabilities. */
import { existsSync } from 'node:fs';
import axe from 'axe-core';
import { chromium, type Browser, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { encodePng } from '../../src/image.ts';
import { shippedBundle } from '../support/bundle.ts';
import { createKey, signedRelease } from '../support/release.ts';
import { activate, publish, secrets, sha256, startEdge, type Edge } from './edge.ts';
import { mixedRelease } from './mixed.ts';

const CHROMIUM = '/usr/bin/chromium';
const TOKEN = 'a-token-of-every-role-that-the-console-knows';
const PHONE = { width: 390, height: 800 };

const here = existsSync(CHROMIUM);
if (!here) console.warn(`SKIPPED: the console is not tried in a browser, for ${CHROMIUM} is not there`);

describe.runIf(here)('in a browser, the console', () => {
  let edge: Edge;
  let browser: Browser;
  const complaints: string[] = [];
  let suspect: Buffer;

  beforeAll(async () => {
    const key = await createKey();
    const { content, suspect: pixels } = await mixedRelease();
    suspect = Buffer.from(encodePng({ height: 8, width: 8, channels: 1, data: pixels }));
    const digest = sha256(TOKEN);
    const roles = {
      CLASSIFY_TOKEN_SHA256: digest,
      OPERATE_TOKEN_SHA256: `${secrets(key)['OPERATE_TOKEN_SHA256']},${digest}`,
    };
    edge = await startEdge(await shippedBundle(), { ...secrets(key), ...roles, EVIDENCE_IMAGES_DAYS: '1' });
    const release = await signedRelease(key, content);
    await publish(edge, release);
    await activate(edge, release.digest);
    browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] });
  });
  afterAll(async () => {
    await browser.close();
    await edge.miniflare.dispose();
  });

  async function open(options: Parameters<Browser['newPage']>[0] = {}): Promise<Page> {
    const page = await browser.newPage(options);
    page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
    page.on('pageerror', ({ message }) => complaints.push(message));
    page.on('request', (request) => {
      const url = new URL(request.url());
      if (url.protocol !== 'data:' && url.port !== edge.url.port) complaints.push(`asked ${url.host}`);
    });
    await page.goto(new URL('/console', edge.url).href);
    return page;
  }

  async function signIn(page: Page): Promise<void> {
    await page.waitForSelector('#token:focus');
    await page.keyboard.type(TOKEN);
    await page.keyboard.press('Enter');
    await page.waitForURL('**/console/now');
  }

  /** What axe finds serious or critical, as `rule: where`. */
  async function faults(page: Page): Promise<string[]> {
    await page.evaluate(axe.source);
    const { violations } = (await page.evaluate('axe.run()')) as axe.AxeResults;
    const grave = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
    return grave.map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target.join(' ')).join(', ')}`);
  }

  test('has no serious fault for people with disabilities, light or dark, and fits on a phone', async () => {
    for (const colorScheme of ['light', 'dark'] as const) {
      const page = await open({ colorScheme, viewport: PHONE });
      const check = async (): Promise<void> => {
        const wide = await page.evaluate('document.documentElement.scrollWidth');
        expect([page.url(), wide, await faults(page)]).toEqual([page.url(), PHONE.width, []]);
      };
      await check();
      await signIn(page);
      await page.waitForSelector('[data-chart=latency] path.line', { state: 'attached' });
      await check();
      await page.goto(new URL('/console/try', edge.url).href);
      await check();
      await page.setInputFiles('#image', { name: 'image.png', mimeType: 'image/png', buffer: suspect });
      await page.click('.drop button');
      await page.waitForSelector('.verdict.bad');
      await check();
      for (const name of ['triggers', 'rollout', 'alerts']) {
        await page.goto(new URL(`/console/${name}`, edge.url).href);
        await check();
      }
      await page.waitForSelector('tbody a');
      await page.click('tbody a');
      await page.waitForSelector('.versus');
      await check();
      await page.close();
    }
  });

  test('is steered by the keyboard alone, and shows where the focus is', async () => {
    const page = await open();
    await signIn(page);
    const walk: string[] = [];
    for (let step = 0; step < 4; step++) {
      await page.keyboard.press('Tab');
      walk.push(
        (await page.evaluate(
          'document.activeElement.textContent.trim() + getComputedStyle(document.activeElement).outlineStyle',
        )) as string,
      );
    }
    expect(walk).toEqual(['Skip to the contentsolid', 'Nowsolid', 'Triggerssolid', 'Alertssolid']);
    await page.keyboard.press('Enter');
    await page.waitForURL('**/console/alerts');
    await page.close();
  });

  test('opens from a link on another site for who is signed in, though the cookie is not sent along', async () => {
    const page = await open();
    await signIn(page);
    // Another name for this machine is another site.
    await page.goto(`http://localhost:${edge.url.port}/healthz`);
    const alerts = new URL('/console/alerts', edge.url).href;
    await page.evaluate(`location.href = ${JSON.stringify(alerts)}`);
    await page.waitForSelector('nav [aria-current]');
    expect([page.url(), await page.textContent('nav [aria-current]')]).toEqual([alerts, 'Alerts']);
    await page.close();
  });

  test('draws charts of what happens while one looks, and without script the table holds them', async () => {
    const page = await open();
    await signIn(page);
    const figure = async (): Promise<number> => Number(await page.textContent('[data-figure=requests]'));
    const before = await figure();
    const image = { token: TOKEN, body: new Uint8Array(suspect), type: 'image/png' };
    expect((await edge.send('POST', '/v1/classify', image)).status).toBe(200);
    await expect.poll(figure, { timeout: 20_000, interval: 200 }).toBeGreaterThan(before);
    expect(await page.textContent('[data-chart=requests] output')).toMatch(/^\d\d:\d\d: stable \d+, canary 0$/);
    await page.close();

    const context = await browser.newContext({ javaScriptEnabled: false });
    const plain = await context.newPage();
    await plain.goto(new URL('/console', edge.url).href);
    await plain.fill('#token', TOKEN);
    await plain.click('.primary');
    expect(await plain.isVisible('[data-chart=requests]')).toBe(false);
    await plain.click('summary');
    expect(await plain.locator('tbody tr').count()).toBe(60);
    await context.close();
  });

  test('asks no other host, breaks no policy and logs no error', () => {
    expect(complaints).toEqual([]);
  });
});
