import { existsSync } from 'node:fs';
import { validate } from '@readme/openapi-parser';
import { chromium } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { shippedBundle } from '../support/bundle.ts';
import { openApi } from '../../src/api/open-api.ts';
import { routes } from '../../src/api/routes.ts';
import { startEdge, type Edge } from './edge.ts';

const CHROMIUM = '/usr/bin/chromium';
let edge: Edge;

beforeAll(async () => {
  edge = await startEdge(await shippedBundle(), {});
});
afterAll(() => edge.miniflare.dispose());

test('the OpenAPI document that the worker serves is valid OpenAPI 3.1', async () => {
  const { status, body } = await edge.send('GET', '/openapi.json');
  expect(status).toBe(200);
  expect(body).toEqual(JSON.parse(JSON.stringify(openApi())));
  const result = await validate(body as Parameters<typeof validate>[0]);
  expect(result).toMatchObject({ valid: true, warnings: [] });
});

test('the page lists every route under a policy that lets it load nothing but its own style', async () => {
  const response = await fetch(new URL('/docs', edge.url));
  expect(response.headers.get('content-type')).toMatch(/^text\/html/);
  expect(response.headers.get('content-security-policy')).toMatch(
    /^default-src 'none'; style-src 'sha256-[\w+/]{43}=';/,
  );
  const html = await response.text();
  for (const id of Object.keys(routes)) expect(html).toContain(`<details id="${id}">`);
  expect(html).not.toMatch(/<script|https?:\/\/| style=/);
});

test.runIf(existsSync(CHROMIUM))(
  'the page is styled, opens its entries and complains of nothing in a browser',
  async () => {
    const browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] });
    try {
      const page = await browser.newPage({ viewport: { width: 400, height: 800 } });
      const complaints: string[] = [];
      page.on('console', (message) => complaints.push(message.text()));
      const hosts = new Set<string>();
      page.on('request', (request) => hosts.add(new URL(request.url()).host));
      await page.goto(new URL('/docs', edge.url).href);
      await page.click('#classify > summary');
      expect(await page.locator('#classify pre').first().isVisible()).toBe(true);
      expect(await page.evaluate('getComputedStyle(document.querySelector("details")).borderRadius')).toBe('8px');
      expect(await page.evaluate('document.documentElement.scrollWidth <= 400')).toBe(true);
      expect([...hosts]).toEqual([edge.url.host]);
      expect(complaints.filter((text) => !text.includes('favicon'))).toEqual([]);
      if (process.env['DOCS_SHOT']) {
        await page.setViewportSize({ width: 1100, height: 900 });
        await page.screenshot({ path: process.env['DOCS_SHOT'] });
        await page.setViewportSize({ width: 400, height: 800 });
        await page.screenshot({ path: `${process.env['DOCS_SHOT']}.phone.png` });
      }
    } finally {
      await browser.close();
    }
  },
);
