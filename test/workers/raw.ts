/** Requests with exactly the headers and bytes that a test names. */
import { request } from 'node:http';
import { TOKENS, type Edge } from './edge.ts';

export type Raw = { status: number; headers: Record<string, string | string[] | undefined>; body: Buffer };

/** Sends exactly these headers and bytes: unlike `fetch`, it adds no content type and inflates nothing. */
export const sendRaw = (
  at: Edge,
  path: string,
  headers: Record<string, string | number>,
  body: Uint8Array,
): Promise<Raw> =>
  new Promise((resolve, reject) => {
    const sent = { authorization: `Bearer ${TOKENS.classify}`, 'content-length': body.length, ...headers };
    const outgoing = request(new URL(path, at.url), { method: 'POST', headers: sent }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () =>
        resolve({ status: response.statusCode!, headers: response.headers, body: Buffer.concat(chunks) }),
      );
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
