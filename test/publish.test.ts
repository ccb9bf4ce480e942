import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { publishRelease } from '../offline/publish.ts';
import { readReleaseFiles, writeRelease } from '../offline/release.ts';
import { testDirectory } from './support/directory.ts';
import { createKey, testContent } from './support/release.ts';

const TOKEN = 'publisher-token';
const key = await createKey();

type Received = { request: string; authorization: string | undefined; contentLength: number; body: Response };
type Answer = { status: number; body?: string; headers?: Record<string, string> };

/** A real HTTP server that keeps what it received and answers by rule. */
async function serve(
  answer: (request: string) => Answer,
): Promise<{ url: string; received: Received[]; server: Server }> {
  const received: Received[] = [];
  const handle = async (message: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = [];
    for await (const chunk of message) chunks.push(chunk as Buffer);
    const request = `${message.method} ${message.url}`;
    const { authorization, 'content-type': type = '', 'content-length': length } = message.headers;
    const body = new Response(Buffer.concat(chunks), { headers: { 'content-type': type } });
    received.push({ request, authorization, contentLength: Number(length), body });
    const { status, body: text = '{}', headers = {} } = answer(request);
    response.writeHead(status, headers).end(text);
  };
  const server = createServer((message, response) => void handle(message, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, received, server };
}

async function release(): Promise<{ directory: string; digest: string }> {
  const directory = join(await testDirectory(), 'release');
  const written = await writeRelease(directory, testContent(), key);
  if (!written.ok) throw new Error(written.error);
  return { directory, digest: written.value.digest };
}

const refusalFor = (status: number, code: string, message: string): Answer => {
  return { status, body: JSON.stringify({ error: { code, message, requestId: 'r1' } }) };
};

describe('publishRelease', () => {
  test('stores every file under the digest and activates it, with the token', async () => {
    const { directory, digest } = await release();
    const { url, received } = await serve((request) => ({ status: request.startsWith('PUT') ? 201 : 200 }));
    const result = await publishRelease(directory, { url, token: TOKEN, activate: true });
    expect(result).toEqual({ ok: true, value: { digest } });
    expect(received.map(({ request }) => request)).toEqual([`PUT /v1/releases/${digest}`, 'POST /v1/rollouts']);
    expect(received.map(({ authorization }) => authorization)).toEqual([`Bearer ${TOKEN}`, `Bearer ${TOKEN}`]);

    const [put, post] = received;
    expect(put!.contentLength).toBeGreaterThan(0);
    const form = await put!.body.formData();
    const parts = new Map<string, Uint8Array>();
    for (const [name, part] of form) {
      if (typeof part === 'string') throw new Error(`${name} is not a file`);
      expect(part.name).toBe(name);
      parts.set(name, new Uint8Array(await part.arrayBuffer()));
    }
    expect(await readReleaseFiles(directory)).toEqual({ ok: true, value: parts });
    expect(post!.body.headers.get('content-type')).toBe('application/json');
    expect(await post!.body.json()).toEqual({ digest, canaryPercent: 100 });
  });

  test('does NOT activate unless asked', async () => {
    const { directory, digest } = await release();
    const { url, received } = await serve(() => ({ status: 200 }));
    await publishRelease(directory, { url, token: TOKEN, activate: false });
    expect(received.map(({ request }) => request)).toEqual([`PUT /v1/releases/${digest}`]);
  });

  test('gives the same result when it is repeated', async () => {
    const { directory, digest } = await release();
    const { url, received } = await serve(() => ({ status: 200 }));
    const options = { url, token: TOKEN, activate: true };
    await publishRelease(directory, options);
    expect(await publishRelease(directory, options)).toEqual({ ok: true, value: { digest } });
    const [first, , second] = await Promise.all(received.map(({ body }) => body.formData().catch(() => undefined)));
    expect([...second!.keys()]).toEqual([...first!.keys()]);
  });

  test('keeps the path of the URL', async () => {
    const { directory, digest } = await release();
    const { url, received } = await serve(() => ({ status: 200 }));
    await publishRelease(directory, { url: `${url}/guard/`, token: TOKEN, activate: false });
    expect(received[0]?.request).toBe(`PUT /guard/v1/releases/${digest}`);
  });

  test.each<[string, Answer, string]>([
    [
      'a refusal of the worker',
      refusalFor(403, 'forbidden', 'expected a publisher'),
      '403: expected a publisher (forbidden)',
    ],
    ['an answer of something else', { status: 502, body: '<h1>Bad\n gateway</h1>' }, '502: <h1>Bad gateway</h1>'],
    ['JSON of another form', { status: 500, body: '{"error":"boom"}' }, '500: {"error":"boom"}'],
    ['an empty answer', { status: 503, body: '' }, '503: no explanation'],
    ['a redirect', { status: 307, body: '', headers: { location: 'http://127.0.0.1:1/' } }, '307: no explanation'],
  ])('says in one sentence what %s means, and does NOT activate', async (_, answer, expected) => {
    const { directory, digest } = await release();
    const { url, received } = await serve(() => answer);
    const error = `publish: PUT ${url}/v1/releases/${digest} was answered ${expected}`;
    expect(await publishRelease(directory, { url, token: TOKEN, activate: true })).toEqual({ ok: false, error });
    expect(received).toHaveLength(1);
  });

  test('says that a release is stored when only its activation failed', async () => {
    const { directory, digest } = await release();
    const conflict = refusalFor(422, 'expired', 'the release expired');
    const { url } = await serve((request) => (request.startsWith('PUT') ? { status: 201 } : conflict));
    const refused = 'was answered 422: the release expired (expired)';
    const error = `publish: POST ${url}/v1/rollouts ${refused} (release ${digest} is stored but not active)`;
    expect(await publishRelease(directory, { url, token: TOKEN, activate: true })).toEqual({ ok: false, error });
  });

  test('says why a worker cannot be reached', async () => {
    const { directory } = await release();
    const { url, server } = await serve(() => ({ status: 200 }));
    await new Promise((resolve) => server.close(resolve));
    const result = await publishRelease(directory, { url, token: TOKEN, activate: true });
    expect(result.ok ? 'accepted' : result.error).toMatch(/^publish: PUT http.* failed: .*ECONNREFUSED/);
  });

  test.each(['not a url', 'ftp://127.0.0.1/', ''])('refuses the URL "%s"', async (url) => {
    const error = `publish: expected an http or https URL, got "${url}"`;
    expect(await publishRelease('nowhere', { url, token: TOKEN, activate: true })).toEqual({ ok: false, error });
  });

  test.each(['', 'two words', 'line\nbreak', 'ключ'])('refuses the token %j without repeating it', async (token) => {
    const error = 'publish: the token is empty or has characters that no token has';
    const result = await publishRelease('nowhere', { url: 'http://127.0.0.1:1', token, activate: true });
    expect(result).toEqual({ ok: false, error });
  });

  test('sends nothing of a directory that is no release', async () => {
    const { url, received } = await serve(() => ({ status: 200 }));
    const options = { url, token: TOKEN, activate: true };
    const directory = await testDirectory();
    const empty = `${directory}: fingerprint.json: the file is missing from the release`;
    expect(await publishRelease(directory, options)).toEqual({ ok: false, error: empty });
    await writeFile(join(directory, 'notes.txt'), '');
    const result = await publishRelease(directory, options);
    expect(result.ok ? 'accepted' : result.error).toContain('notes.txt');
    expect(received).toEqual([]);
  });
});
