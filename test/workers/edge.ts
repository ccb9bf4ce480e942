/** Runs the bundle that ships in real workerd, with real R2 and objects, as wrangler.toml binds them. */
import { createHash } from 'node:crypto';
import { request } from 'node:http';
import { startWorker, type Bundle, type LocalWorker, type Serving } from '../../offline/serve.ts';
import { errorResponse } from '../../src/api/route.ts';
import type { SigningKey } from '../../src/release/signature.ts';

export const TOKENS = {
  classify: 'token-to-classify',
  publish: 'token-to-publish',
  operate: 'token-to-operate',
  metrics: 'token-to-scrape',
};
export const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

/** The variables of a worker that trusts one key and knows `TOKENS`. */
export const secrets = (key: SigningKey): Record<string, string> => ({
  RELEASE_PUBLIC_KEYS: Buffer.from(key.publicKey).toString('base64'),
  CLASSIFY_TOKEN_SHA256: sha256(TOKENS.classify),
  PUBLISH_TOKEN_SHA256: sha256(TOKENS.publish),
  OPERATE_TOKEN_SHA256: sha256(TOKENS.operate),
  CONSOLE_SESSION_KEY: 'a key of the tests that signs sessions of the console',
  METRICS_TOKEN_SHA256: sha256(TOKENS.metrics),
});

export type Answer = { status: number; headers: Headers; body: unknown };
type Sent = { token?: string; body?: unknown; type?: string; headers?: Record<string, string> };
export type Edge = LocalWorker & {
  logs: string[];
  /** Sends a request and reads its JSON answer; `body` that is no bytes, text or form goes as JSON. */
  send(method: string, path: string, options?: Sent): Promise<Answer>;
};

/** Sends requests to a worker at an address. */
export function senderTo(url: URL): Edge['send'] {
  return async (method, path, { token, body, type, headers = {} } = {}) => {
    const raw =
      body === undefined || typeof body === 'string' || body instanceof Uint8Array || body instanceof FormData;
    const contentType = type ?? (raw ? undefined : 'application/json');
    const response = await fetch(new URL(path, url), {
      method,
      headers: {
        ...headers,
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
        ...(contentType !== undefined && { 'content-type': contentType }),
      },
      ...(body !== undefined && {
        body: raw ? (body as string | FormData | Uint8Array<ArrayBuffer>) : JSON.stringify(body),
      }),
    });
    return { status: response.status, headers: response.headers, body: await response.json() };
  };
}

/** Starts a worker; with `folder` its R2 and objects are kept there, and without its alerts object if `unalerted`. */
export async function startEdge(
  bundle: Bundle,
  bindings: Record<string, string>,
  { unalerted, ...serving }: { unalerted?: boolean } & Partial<Serving> = {},
): Promise<Edge> {
  const logs: string[] = [];
  const { miniflare, url } = await startWorker(bundle, {
    variables: bindings,
    onLog: (message) => logs.push(message),
    omitted: unalerted ? ['ALERTS'] : [],
    ...serving,
  });
  return { miniflare, url, logs, send: senderTo(url) };
}

/** The files of a release as the body of PUT. */
export function releaseForm(files: ReadonlyMap<string, Uint8Array>): FormData {
  const form = new FormData();
  for (const [name, bytes] of files) form.set(name, new Blob([new Uint8Array(bytes)]), name);
  return form;
}

export const publish = (
  edge: Edge,
  release: { files: ReadonlyMap<string, Uint8Array>; digest: string },
): Promise<Answer> =>
  edge.send('PUT', `/v1/releases/${release.digest}`, { token: TOKENS.publish, body: releaseForm(release.files) });

export const activate = (edge: Edge, digest: string): Promise<Answer> =>
  edge.send('POST', '/v1/rollouts', { token: TOKENS.publish, body: { digest, canaryPercent: 100 } });

/** The `code: message` of a refusal; fails the test when the answer is none. */
export function refusalOf({ status, body }: Answer): string {
  const { code, message } = errorResponse.parse(body).error;
  return `${status} ${code}: ${message}`;
}

/** Sends a request whose body never ends, and answers the status: a limit must be enforced without waiting for the rest. */
export function statusOfUnfinished(
  edge: Edge,
  method: string,
  path: string,
  headers: Record<string, string>,
  body: string,
): Promise<number> {
  return new Promise((resolve, reject) => {
    const outgoing = request(new URL(path, edge.url), { method, headers }, (response) => {
      resolve(response.statusCode!);
      outgoing.destroy();
    });
    outgoing.on('error', reject);
    outgoing.write(body);
  });
}
