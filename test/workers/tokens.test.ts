import { exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWK } from 'jose';
import { Response } from 'miniflare';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import type { Bundle, Serving } from '../../offline/serve.ts';
import { shippedBundle } from '../support/bundle.ts';
import { createKey } from '../support/release.ts';
import { refusalOf, secrets, sha256, startEdge, TOKENS, type Edge } from './edge.ts';

const key = await createKey();
const ISSUER = 'https://issuer.example';
const AUDIENCE = 'trigger-guard';
const issuerVariables = { JWT_JWKS_URL: `${ISSUER}/keys`, JWT_ISSUER: ISSUER, JWT_AUDIENCE: AUDIENCE };
let bundle: Bundle;

beforeAll(async () => {
  bundle = await shippedBundle();
});

async function start(bindings: Record<string, string>, serving: Partial<Serving> = {}): Promise<Edge> {
  const edge = await startEdge(bundle, { ...secrets(key), ...bindings }, serving);
  onTestFinished(() => edge.miniflare.dispose());
  return edge;
}

const statusWith = async (edge: Edge, token: string, path = '/v1/alerts'): Promise<number> =>
  (await edge.send('GET', path, { token })).status;

describe('JSON Web Tokens', () => {
  type Signer = { algorithm: string; privateKey: CryptoKey; jwk: JWK };
  let signers: Signer[];
  let answer: () => Response;
  let asked = 0;
  let edge: Edge;

  async function createSigner(algorithm: string, kid: string): Promise<Signer> {
    const { privateKey, publicKey } = await generateKeyPair(algorithm, { extractable: true });
    return { algorithm, privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg: algorithm, use: 'sig' } };
  }

  const claims = { roles: ['operate'], sub: 'ada@example.org', iss: ISSUER, aud: AUDIENCE };
  const seconds = (): number => Math.floor(Date.now() / 1000);
  const signed = ({ algorithm, privateKey, jwk }: Signer, changes: object = {}): Promise<string> =>
    new SignJWT({ ...claims, exp: seconds() + 300, ...changes })
      .setProtectedHeader({ alg: algorithm, kid: jwk.kid! })
      .sign(privateKey);
  const served = (keys: unknown = { keys: signers.map(({ jwk }) => jwk) }): Response => Response.json(keys);
  const startTrusting = (variables: Record<string, string> = {}): Promise<Edge> =>
    startEdge(
      bundle,
      { ...secrets(key), ...issuerVariables, ...variables },
      {
        outbound: () => {
          asked += 1;
          return answer();
        },
      },
    );

  beforeAll(async () => {
    signers = await Promise.all(['RS256', 'ES256', 'EdDSA'].map((algorithm) => createSigner(algorithm, algorithm)));
    answer = served;
    edge = await startTrusting();
  });
  afterAll(() => edge.miniflare.dispose());

  test('of three asymmetric algorithms open what their roles open, and the keys are read once', async () => {
    for (const signer of signers) {
      expect(await statusWith(edge, await signed(signer))).toBe(200);
      expect(await statusWith(edge, await signed(signer, { roles: 'operate' }))).toBe(200);
      expect(await statusWith(edge, await signed(signer, { roles: ['classify', 'other'] }))).toBe(403);
      expect(await statusWith(edge, await signed(signer, { roles: [] }))).toBe(403);
      expect(await statusWith(edge, await signed(signer, { roles: { operate: true } }))).toBe(403);
    }
    expect(asked).toBe(1);
  });

  test('that are expired, early, for others, unsigned or made with the public key are refused', async () => {
    const [rsa] = signers;
    const text = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
    const payload = text({ ...claims, exp: seconds() + 300 });
    const whole = await signed(rsa!);
    const publicText = new TextEncoder().encode(JSON.stringify(rsa!.jwk));
    const refused = {
      expired: await signed(rsa!, { exp: seconds() - 60 }),
      'without an end': await signed(rsa!, { exp: undefined }),
      'not yet valid': await signed(rsa!, { nbf: seconds() + 120 }),
      'of another issuer': await signed(rsa!, { iss: 'https://other.example' }),
      'for another audience': await signed(rsa!, { aud: 'other' }),
      'without a subject': await signed(rsa!, { sub: undefined }),
      'with a subject that is no text': await signed(rsa!, { sub: 7 }),
      'of another key': await signed({ ...(await createSigner('RS256', 'RS256')), jwk: rsa!.jwk }),
      'of an unknown key': await signed(await createSigner('ES256', 'unknown')),
      unsigned: `${text({ alg: 'none' })}.${payload}.`,
      'of a shared secret': await new SignJWT({ ...claims, exp: seconds() + 300 })
        .setProtectedHeader({ alg: 'HS256', kid: 'RS256' })
        .sign(publicText),
      'of another asymmetric algorithm': await signed(await createSigner('PS256', 'RS256')),
      'with another payload': [whole.split('.')[0], text({ ...claims, exp: 9e9 }), whole.split('.')[2]].join('.'),
      'of no sense': 'a.b.c',
    };
    for (const [name, token] of Object.entries(refused)) {
      const { status, headers } = await edge.send('GET', '/v1/alerts', { token });
      expect([status, headers.get('www-authenticate')], name).toEqual([401, 'Bearer realm="trigger-guard"']);
    }
  });

  test('of 30 s clock skew are still accepted', async () => {
    expect(await statusWith(edge, await signed(signers[0]!, { exp: seconds() - 10, nbf: seconds() + 10 }))).toBe(200);
  });

  test.each<[string, () => Response]>([
    ['that fails', () => new Response('no', { status: 500 })],
    ['that answers no keys', () => served({ keys: 'none' })],
    ['that answers without end', () => new Response(new Uint8Array(1 << 20).fill(32))],
    ['that sends elsewhere', () => new Response(null, { status: 302, headers: { location: 'https://other.example' } })],
  ])('let nobody in from an issuer %s, which is not asked for every token; hashed tokens hold', async (_, failing) => {
    answer = failing;
    asked = 0;
    const edge = await startTrusting();
    onTestFinished(async () => {
      answer = served;
      await edge.miniflare.dispose();
    });
    for (let attempt = 0; attempt < 5; attempt += 1) {
      const refused = await edge.send('GET', '/v1/alerts', { token: await signed(signers[0]!) });
      expect(refusalOf(refused)).toBe('503 keys_unavailable: the keys that check this token cannot be read');
      expect(await statusWith(edge, TOKENS.operate)).toBe(200);
    }
    expect(asked).toBe(1);
    expect(edge.logs.some((line) => line.includes('token_keys_not_read'))).toBe(true);
  });

  test('are refused where the issuer is configured in part, or without https', async () => {
    const token = await signed(signers[0]!);
    asked = 0;
    const partly = await start({ JWT_JWKS_URL: `${ISSUER}/keys`, JWT_ISSUER: ISSUER });
    expect(await statusWith(partly, token)).toBe(401);
    const plain = await startTrusting({ JWT_JWKS_URL: 'http://issuer.example/keys' });
    onTestFinished(() => plain.miniflare.dispose());
    expect(await statusWith(plain, token)).toBe(503);
    expect(asked).toBe(0);
  });
});

describe('callers without a token', () => {
  const pixels = Array.from({ length: 8 }, () => Array.from({ length: 8 }, () => [10]));

  test('classify where that is switched on, and do nothing else; a wrong token is still refused', async () => {
    const edge = await start({ ANONYMOUS_CLASSIFY: 'on' });
    const ask = (token?: string) =>
      edge.send('POST', '/v1/classify', { body: { pixels }, ...(token !== undefined && { token }) });
    expect(refusalOf(await ask())).toBe('503 not_ready: not ready: no release is active');
    expect((await ask('wrong')).status).toBe(401);
    expect((await ask(TOKENS.operate)).status).toBe(403);
    for (const path of ['/v1/alerts', '/v1/releases', '/v1/rollouts']) {
      expect((await edge.send('GET', path)).status).toBe(401);
    }
  });

  test('are refused when ANONYMOUS_CLASSIFY is anything but "on"', async () => {
    const edge = await start({ ANONYMOUS_CLASSIFY: 'true' });
    expect((await edge.send('POST', '/v1/classify', { body: { pixels } })).status).toBe(401);
  });
});

describe('rate limits', () => {
  const askedBy = (edge: Edge, token: string, address = '192.0.2.1') =>
    edge.send('POST', '/v1/classify', { token, body: {}, headers: { 'cf-connecting-ip': address } });
  const tooMany = '429 too_many_requests: too many requests: try again in 60 s';

  test('hold for each client by itself, and leave what is no classification alone', async () => {
    const tokens = { CLASSIFY_TOKEN_SHA256: [sha256('one'), sha256('two')].join(',') };
    const edge = await start(tokens, { requestsPerMinute: { CLASSIFY_LIMIT: 3 } });
    const refused = [];
    // A minute may end in between, after which counting begins anew.
    for (let asked = 0; asked < 7; asked += 1) refused.push(await askedBy(edge, 'one'));
    const last = refused.findLast(({ status }) => status === 429)!;
    expect(refusalOf(last)).toBe(tooMany);
    expect(last.headers.get('retry-after')).toBe('60');
    expect(refused.slice(0, 3).every(({ status }) => status === 503)).toBe(true);
    expect((await askedBy(edge, 'two')).status).toBe(503);
    expect(await statusWith(edge, TOKENS.operate)).toBe(200);
  });

  test('stop whoever tries tokens from one address, and nobody from another', async () => {
    const edge = await start({}, { requestsPerMinute: { FAILED_AUTHENTICATION_LIMIT: 3 } });
    const refused = [];
    for (let guess = 0; guess < 7; guess += 1) refused.push(await askedBy(edge, `guess-${guess}`));
    expect(refused.map(({ status }) => status)).toContain(429);
    expect(refused[0]!.status).toBe(401);
    expect((await askedBy(edge, 'guess', '192.0.2.2')).status).toBe(401);
    expect((await askedBy(edge, TOKENS.classify)).status).toBe(503);
  });

  test('that are not bound make a worker not ready, and it says so', async () => {
    const edge = await start({}, { omitted: ['CLASSIFY_LIMIT', 'FAILED_AUTHENTICATION_LIMIT'] });
    const missing = (name: string) => `503 not_ready: not ready: the rate limit ${name} is not bound`;
    expect(refusalOf(await edge.send('GET', '/readyz'))).toBe(missing('CLASSIFY_LIMIT'));
    expect(refusalOf(await askedBy(edge, TOKENS.classify))).toBe(missing('CLASSIFY_LIMIT'));
    expect(refusalOf(await askedBy(edge, 'unknown'))).toBe(missing('FAILED_AUTHENTICATION_LIMIT'));
    expect(await statusWith(edge, TOKENS.operate)).toBe(200);
  });
});
