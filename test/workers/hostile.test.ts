/** Requests that no honest client sends, against the bundle: each gets a refusal, and the worker goes on. */
import { connect } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { shippedBundle } from '../support/bundle.ts';
import { createKey, signedRelease, testContent } from '../support/release.ts';
import { activate, publish, refusalOf, secrets, startEdge, TOKENS, type Edge } from './edge.ts';

const key = await createKey();
const good = await signedRelease(key, testContent());
const pixels = Array.from({ length: 8 }, () => Array.from({ length: 8 }, () => [10]));
let edge: Edge;

beforeAll(async () => {
  edge = await startEdge(await shippedBundle(), secrets(key));
  await publish(edge, good);
  await activate(edge, good.digest);
});
afterAll(() => edge.miniflare.dispose());

/** Sends bytes as they are, and reads the status line of the answer; '' when the connection is closed without one. */
function statusOfRaw(lines: readonly string[], body: Uint8Array | string = ''): Promise<string> {
  return new Promise((resolve) => {
    let answer = '';
    const socket = connect(Number(edge.url.port), edge.url.hostname, () => {
      socket.write(Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'));
      socket.write(body);
    });
    const end = (): void => {
      resolve(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1] ?? '');
      socket.destroy();
    };
    socket.on('data', (chunk) => {
      answer += chunk.toString('latin1');
      if (answer.includes('\r\n\r\n')) end();
    });
    socket.on('error', end).on('close', end);
  });
}

const classifyLines = (...headers: string[]): string[] => [
  'POST /v1/classify HTTP/1.1',
  `host: ${edge.url.host}`,
  `authorization: Bearer ${TOKENS.classify}`,
  ...headers,
];

describe('headers', () => {
  const json = JSON.stringify({ pixels });

  test('an honest request passes this way too', async () => {
    const lines = classifyLines('content-type: application/json', `content-length: ${json.length}`);
    expect(await statusOfRaw(lines, json)).toBe('200');
  });

  test.each([
    ['negative', '-1'],
    ['hexadecimal', '0x10'],
    ['no number', 'many'],
    ['beyond any number', '99999999999999999999999'],
    ['two', '2\r\ncontent-length: 3'],
  ])('a content-length that is %s gets no answer but a refusal', async (_, value) => {
    const lines = classifyLines('content-type: application/json', `content-length: ${value}`);
    expect(await statusOfRaw(lines, '{}')).toMatch(/^(4\d\d)?$/);
  });

  test('a token that comes twice, is very long, or is not ASCII is refused', async () => {
    const twice = classifyLines(`authorization: Bearer ${TOKENS.classify}`, 'content-length: 0');
    expect(await statusOfRaw(twice)).toBe('401');
    for (const token of ['x'.repeat(5000), 'caf\u00e9', '\u0000', `${TOKENS.classify} ${TOKENS.classify}`]) {
      const lines = ['GET /v1/alerts HTTP/1.1', `host: ${edge.url.host}`, `authorization: Bearer ${token}`];
      expect(await statusOfRaw(lines)).toMatch(/^40[01]$/);
    }
  });

  test('a content type that comes twice is none', async () => {
    const lines = classifyLines('content-type: application/json', 'content-type: image/png', 'content-length: 2');
    expect(await statusOfRaw(lines, '{}')).toBe('415');
  });

  test('too many, too long, and a long query are refused', async () => {
    const many = Array.from({ length: 120 }, (_, index) => `x-${index}: 1`);
    expect(await statusOfRaw([...classifyLines('content-length: 0'), ...many])).toBe('431');
    expect(await statusOfRaw(classifyLines('content-length: 0', `x-long: ${'y'.repeat(40_000)}`))).toBe('431');
    const answer = await edge.send('GET', `/v1/alerts?cursor=${'1'.repeat(3000)}`, { token: TOKENS.operate });
    expect(refusalOf(answer)).toBe('414 query_too_long: query: expected at most 2048 characters');
  });

  test('a request id that is no id is not taken over, and a long path is not repeated whole', async () => {
    const forged = await edge.send('GET', '/healthz', { headers: { 'cf-ray': 'a"},{"event":"forged' } });
    expect(forged.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
    const kept = await edge.send('GET', '/healthz', { headers: { 'cf-ray': '8a1b2c3d4e5f6a7b-FRA' } });
    expect(kept.headers.get('x-request-id')).toBe('8a1b2c3d4e5f6a7b-FRA');
    expect(refusalOf(await edge.send('GET', `/${'z'.repeat(5000)}`)).length).toBeLessThan(300);
  });

  test('any header value whatever never gets a 5xx', async () => {
    const text = fc.string({ unit: fc.integer({ min: 0x20, max: 0xff }).map((code) => String.fromCharCode(code)) });
    const name = fc.constantFrom(
      'authorization',
      'content-type',
      'x-client-key',
      'cf-ray',
      'accept',
      'cookie',
      'range',
    );
    await fc.assert(
      fc.asyncProperty(name, text, async (header, value) => {
        const lines = ['GET /v1/alerts HTTP/1.1', `host: ${edge.url.host}`, `${header}: ${value}`];
        expect(await statusOfRaw(lines)).toMatch(/^4\d\d$/);
      }),
      { numRuns: 60 },
    );
  });
});

describe('bodies', () => {
  test('JSON that nests deeper than 32 levels is refused before it is parsed', async () => {
    const ask = async (body: string) =>
      refusalOf(await edge.send('POST', '/v1/classify', { token: TOKENS.classify, body, type: 'application/json' }));
    const tooDeep = '400 json_too_deep: body: expected at most 32 levels of nesting, got more';
    expect(await ask(`{"pixels":${'['.repeat(2_000_000)}`)).toBe(tooDeep);
    expect(await ask(`{"pixels":${'['.repeat(32)}1${']'.repeat(32)}}`)).toBe(tooDeep);
    expect(await ask(`{"pixels":${'['.repeat(31)}1${']'.repeat(31)}}`)).toMatch(/^422 /);
    expect(await ask(`{"pixels":"${'['.repeat(100)}"}`)).toMatch(/^422 /);
  });

  test('a body that comes too slowly is refused, and others are answered meanwhile', async () => {
    const lines = [
      'POST /v1/rollouts HTTP/1.1',
      `host: ${edge.url.host}`,
      `authorization: Bearer ${TOKENS.publish}`,
      'content-type: application/json',
      'content-length: 100',
    ];
    const slow = statusOfRaw(lines, '{');
    const { status } = await edge.send('POST', '/v1/classify', { token: TOKENS.classify, body: { pixels } });
    expect(status).toBe(200);
    expect(await slow).toBe('408');
  }, 30_000);

  test('more parts than a release has files are refused before they are read', async () => {
    const part = '--y\r\ncontent-disposition: form-data; name="a"; filename="a"\r\n\r\n\r\n';
    const answer = await edge.send('PUT', `/v1/releases/${good.digest}`, {
      token: TOKENS.publish,
      body: `${part.repeat(50_000)}--y--\r\n`,
      type: 'multipart/form-data; boundary=y',
    });
    expect(refusalOf(answer)).toBe('422 invalid_request: body: expected at most 5 parts, got more');
  });
});

describe('browsers', () => {
  test('are told on every answer to share, frame, sniff and store nothing', async () => {
    for (const path of ['/healthz', '/nowhere', '/v1/alerts', '/openapi.json']) {
      const { headers } = await edge.send('GET', path, { headers: { origin: 'https://other.example' } });
      expect(Object.fromEntries(headers)).toMatchObject({
        'cache-control': 'no-store',
        'content-security-policy': "default-src 'none'; base-uri 'none'; frame-ancestors 'none'",
        'cross-origin-resource-policy': 'same-origin',
        'referrer-policy': 'no-referrer',
        'strict-transport-security': 'max-age=31536000',
        'x-content-type-options': 'nosniff',
        'x-frame-options': 'DENY',
      });
      expect([...headers.keys()].filter((name) => name.startsWith('access-control-'))).toEqual([]);
    }
  });

  test('of other origins get no leave to send requests', async () => {
    const headers = { origin: 'https://other.example', 'access-control-request-method': 'POST' };
    const answer = await edge.send('OPTIONS', '/v1/classify', { headers });
    expect(answer.status).toBe(404);
    expect([...answer.headers.keys()].filter((name) => name.startsWith('access-control-'))).toEqual([]);
  });
});

test('after all this the worker still classifies', async () => {
  const { status } = await edge.send('POST', '/v1/classify', { token: TOKENS.classify, body: { pixels } });
  expect(status).toBe(200);
});
