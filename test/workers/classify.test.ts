import jpeg from 'jpeg-js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Bundle } from '../../offline/serve.ts';
import { shippedBundle } from '../support/bundle.ts';
import { alertsResponse } from '../../src/api/alerts.ts';
import { batchResponse, classifyResponse } from '../../src/api/classify.ts';
import { BODY_LIMIT_BYTES } from '../../src/api/route.ts';
import { decodeImage, encodePng, toChannels } from '../../src/image.ts';
import { fitImage } from '../../src/image/fit.ts';
import type { ReleaseContent } from '../../src/release/release.ts';
import { createKey, signedRelease, testContent } from '../support/release.ts';
import { activate, publish, refusalOf, secrets, startEdge, statusOfUnfinished, TOKENS, type Edge } from './edge.ts';
import { everyLayerContent, overflowingContent } from './networks.ts';
import { largestDifference, offlineAnswer } from './offline.ts';

const TOLERANCE = 1e-5;
const key = await createKey();
const content = testContent();
let bundle: Bundle;
let edge: Edge;
let digest: string;

async function serve(content: ReleaseContent, bindings: Record<string, string> = {}) {
  const edge = await startEdge(bundle, { ...secrets(key), ...bindings });
  const release = await signedRelease(key, content);
  expect((await publish(edge, release)).status).toBe(201);
  const activated = await activate(edge, release.digest);
  expect(activated.status, JSON.stringify(activated.body)).toBe(200);
  return { edge, digest: release.digest };
}

beforeAll(async () => {
  bundle = await shippedBundle();
  ({ edge, digest } = await serve(content));
});
afterAll(() => edge.miniflare.dispose());

/** A smooth image, different for each seed: bytes [8,8,1]. */
const bytesOf = (seed: number, length = 64): Uint8Array =>
  Uint8Array.from({ length }, (_, index) => 127 + 120 * Math.sin(seed + index * 0.7 * seed));
const nested = (bytes: Uint8Array): number[][][] =>
  Array.from({ length: 8 }, (_, y) => Array.from({ length: 8 }, (_, x) => [bytes[8 * y + x]!]));
const png = (bytes: Uint8Array, height = 8, width = 8): Uint8Array =>
  encodePng({ height, width, channels: bytes.length / height / width, data: bytes });
const scaled = (bytes: Uint8Array): Float32Array => Float32Array.from(bytes, (value) => value / 255);

const ask = (body: unknown, type?: string, at = edge) =>
  at.send('POST', '/v1/classify', { token: TOKENS.classify, body, ...(type && { type }) });
const askPixels = (pixels: unknown) => ask({ pixels });

async function answerTo(body: unknown, type?: string, at = edge) {
  const { status, body: answer } = await ask(body, type, at);
  expect(status, JSON.stringify(answer)).toBe(200);
  const { scores, guard, ...named } = classifyResponse.parse(answer);
  if (!scores || !guard) throw new Error('the answer holds no scores or no verdict');
  return { ...named, scores, guard };
}

/** Compares an answer with what the release says offline, verdict and evidence included. */
async function expectOffline(
  answer: Awaited<ReturnType<typeof answerTo>>,
  content: ReleaseContent,
  image: Float32Array,
) {
  const expected = await offlineAnswer(content, image);
  const { fingerprint } = content.guard;
  expect(largestDifference(answer.scores, expected.scores)).toBeLessThan(TOLERANCE);
  expect(answer.label).toBe(expected.scores.indexOf(Math.max(...expected.scores)));
  expect(answer.labelName).toBe(content.manifest.network.labelNames[answer.label]);
  if (answer.guard.verdict === 'off') throw new Error('the guard is off');
  const over = fingerprint.triggers.filter((_, index) => expected.probeScores[index]! > fingerprint.threshold);
  expect(answer.guard.matches.map(({ triggerId }) => triggerId).sort()).toEqual(over.map(({ id }) => id).sort());
  for (const { triggerId, score } of answer.guard.matches) {
    const index = fingerprint.triggers.findIndex(({ id }) => id === triggerId);
    expect(Math.abs(score - expected.probeScores[index]!)).toBeLessThan(1e-4);
  }
  expect(answer.guard.verdict).toBe(over.length ? 'suspect' : 'clean');
  if (!over.length) return expect(answer.guard.evidence).toBeUndefined();
  expect(largestDifference(answer.guard.evidence!.victimScores, expected.victimScores)).toBeLessThan(TOLERANCE);
}

describe('answers', () => {
  test.each([1, 2, 3, 4])(
    'JSON pixels get the label, scores, verdict and evidence of the release offline (%i)',
    async (seed) => {
      const answer = await answerTo({ pixels: nested(bytesOf(seed)) });
      expect(answer.release).toBe(digest);
      await expectOffline(answer, content, scaled(bytesOf(seed)));
    },
  );

  test('a PNG gets the same answer as its pixels', async () => {
    const answer = await answerTo(png(bytesOf(2)), 'image/png');
    expect(answer).toEqual(await answerTo({ pixels: nested(bytesOf(2)) }));
  });

  test('a grey JPEG gets the answer of what it decodes to', async () => {
    const rgba = Uint8Array.from(bytesOf(3)).reduce<number[]>((all, value) => [...all, value, value, value, 255], []);
    const file = new Uint8Array(jpeg.encode({ height: 8, width: 8, data: Uint8Array.from(rgba) }, 90).data);
    const decoded = decodeImage(file, { maxPixels: 64 });
    const grey = decoded.ok && toChannels(decoded.value, 1);
    if (!grey || !grey.ok) throw new Error('the JPEG does not decode to grey');
    await expectOffline(await answerTo(file, 'image/jpeg'), content, scaled(grey.value.data));
  });

  test('a file of another size, in colour and half transparent gets the answer of what it is fitted to', async () => {
    const data = Uint8Array.from({ length: 19 * 13 * 4 }, (_, index) => (index * 37) % 256);
    const image = { height: 19, width: 13, channels: 4, data };
    const fitted = fitImage(image, content.manifest.network.input);
    if (!fitted.ok) throw new Error(fitted.error);
    await expectOffline(await answerTo(encodePng(image), 'image/png'), content, scaled(fitted.value.data));
  });

  test('top_k gives the labels with the highest scores in place of all scores, alone and in a batch', async () => {
    const { scores } = await answerTo({ pixels: nested(bytesOf(2)) });
    const order = scores.map((_, label) => label).sort((a, b) => scores[b]! - scores[a]!);
    const post = (path: string, body: unknown) => edge.send('POST', path, { token: TOKENS.classify, body });
    const one = classifyResponse.parse((await post('/v1/classify?top_k=2', { pixels: nested(bytesOf(2)) })).body);
    expect(one.scores).toBeUndefined();
    expect(one.top!.map(({ label }) => label)).toEqual(order.slice(0, 2));
    expect(one.top!.map(({ score }) => score)).toEqual(order.slice(0, 2).map((label) => scores[label]));
    const b64 = Buffer.from(png(bytesOf(2))).toString('base64');
    const batch = await post('/v1/classify/batch?top_k=2', { images: [{ b64 }, nested(bytesOf(2))] });
    const { results } = batchResponse.parse(batch.body);
    for (const { top } of results) expect(top!.map(({ label }) => label)).toEqual(order.slice(0, 2));
    for (const query of ['top_k=0', 'top_k=x', 'top_k=', 'topk=1']) {
      expect(refusalOf(await post(`/v1/classify?${query}`, {}))).toMatch(/^400 invalid_request: query: /);
    }
  });

  test('a batch gets the answers of its images, in order', async () => {
    const seeds = Array.from({ length: 32 }, (_, index) => index + 1);
    const images = seeds.map((seed) => nested(bytesOf(seed)));
    const { status, body } = await edge.send('POST', '/v1/classify/batch', {
      token: TOKENS.classify,
      body: { images },
    });
    expect(status).toBe(200);
    const { release, results } = batchResponse.parse(body);
    expect(release).toBe(digest);
    for (const [index, pixels] of images.entries()) {
      const { label, scores, guard } = await answerTo({ pixels });
      expect(results[index]).toMatchObject({ label, guard: { verdict: guard.verdict } });
      expect(largestDifference(results[index]!.scores!, scores)).toBeLessThan(TOLERANCE);
    }
  });

  test('every layer type of a network works at the edge and answers as offline', async () => {
    const content = everyLayerContent();
    const { edge } = await serve(content);
    try {
      for (const seed of [1, 2, 3]) {
        await expectOffline(
          await answerTo({ pixels: nested(bytesOf(seed)) }, undefined, edge),
          content,
          scaled(bytesOf(seed)),
        );
      }
    } finally {
      await edge.miniflare.dispose();
    }
  });

  test('a suspect image is stored as an alert that says what the victim would have answered', async () => {
    const seen = await Promise.all([1, 2, 3, 4].map((seed) => answerTo({ pixels: nested(bytesOf(seed)) })));
    const suspect = seen.find(({ guard }) => guard.verdict === 'suspect');
    if (suspect?.guard.verdict !== 'suspect') throw new Error('expected a suspect among the images');
    const [match] = suspect.guard.matches;
    const { body } = await edge.send('GET', '/v1/alerts', { token: TOKENS.operate });
    const { alerts } = alertsResponse.parse(body);
    const stored = alerts.filter(({ alert }) => alert.kind === 'trigger-match' && alert.triggerId === match!.triggerId);
    expect(stored.length).toBeGreaterThan(0);
    for (const { alert } of stored) expect(alert).toMatchObject({ release: digest, targetLabel: match!.targetLabel });
  });
});

describe('refusals', () => {
  const refused = async (body: unknown, type?: string) => refusalOf(await ask(body, type));

  test('an unknown, missing or almost right content type gets 415 with the types that are taken', async () => {
    const taken = '415 unsupported_media_type: content-type: expected image/png or image/jpeg or application/json, got';
    expect(await refused(png(bytesOf(1)), 'image/gif')).toBe(`${taken} "image/gif"`);
    expect(await refused(png(bytesOf(1)))).toBe(`${taken} none`);
    expect(await refused('{}', 'application/jsonp')).toBe(`${taken} "application/jsonp"`);
  });

  test('pixels of another size get 422 with the expected and the found size', async () => {
    expect(refusalOf(await askPixels([[[1]]]))).toBe(
      '422 invalid_image: pixels: expected numbers [8,8,1], got [1,1,1]',
    );
  });

  test('a truncated PNG and text named PNG get 422', async () => {
    expect(await refused(png(bytesOf(1)).slice(0, 60), 'image/png')).toMatch(/^422 invalid_image: /);
    expect(await refused('no image', 'image/png')).toMatch(/^422 invalid_image: image: expected PNG or JPEG/);
  });

  test('a PNG that declares more than 1.5 megapixels is refused by its header', async () => {
    const file = png(bytesOf(1)).slice();
    new DataView(file.buffer).setUint32(16, 200_000);
    expect(await refused(file, 'image/png')).toBe(
      '422 invalid_image: image: expected 1 to 1500000 pixels, got 8 x 200000',
    );
  });

  test.each([
    ['256', '422 invalid_image: pixels[0][0][0]: expected a number in 0..255, got 256'],
    ['1e999', '422 invalid_image: pixels[0][0][0]: expected a number in 0..255, got Infinity'],
    ['"1"', '422 invalid_image: pixels[0][0][0]: expected a number in 0..255, got string'],
    ['null', '422 invalid_image: pixels[0][0][0]: expected a number in 0..255, got object'],
    ['NaN', '400 invalid_json: body: expected JSON in UTF-8'],
  ])('the pixel %s is refused', async (value, message) => {
    const body = JSON.stringify({ pixels: nested(bytesOf(1)) }).replace(/\d+/, value);
    expect(await refused(body, 'application/json')).toBe(message);
  });

  test('a body that is no JSON gets 400, one of another form 422', async () => {
    expect(await refused('{"pixels":', 'application/json')).toBe('400 invalid_json: body: expected JSON in UTF-8');
    expect(await refused(Uint8Array.of(34, 255, 34), 'application/json')).toMatch(/^400 invalid_json/);
    expect(await refused({ pixel: [] })).toMatch(/^422 invalid_(request|image): /);
    expect(await refused({ pixels: nested(bytesOf(1)), model: 'other' })).toMatch(
      /^422 invalid_request: body: .*model/,
    );
  });

  test('a body over 4 MiB gets 413, whether its length is declared or not', async () => {
    const large = ' '.repeat(BODY_LIMIT_BYTES.classify + 1);
    const tooLarge = '413 body_too_large: body: expected at most 4194304 bytes, got more';
    expect(await refused(large, 'application/json')).toBe(tooLarge);
    const headers = { authorization: `Bearer ${TOKENS.classify}`, 'content-type': 'application/json' };
    expect(await statusOfUnfinished(edge, 'POST', '/v1/classify', headers, large)).toBe(413);
  });

  test('33 images in a batch get 422, and so does none', async () => {
    const batch = async (images: unknown[]) =>
      refusalOf(await edge.send('POST', '/v1/classify/batch', { token: TOKENS.classify, body: { images } }));
    expect(await batch(Array.from({ length: 33 }, () => nested(bytesOf(1))))).toMatch(
      /^422 invalid_request: body: images/,
    );
    expect(await batch([])).toMatch(/^422 invalid_request: body: images/);
    expect(await batch([nested(bytesOf(1)), [[1]]])).toMatch(/^422 invalid_image: images\[1\]: expected numbers/);
  });
});

describe('the guard', () => {
  test('fails closed: where its score overflows there is no label, but an error and an alert', async () => {
    const { edge } = await serve(overflowingContent());
    try {
      expect((await answerTo({ pixels: nested(new Uint8Array(64)) }, undefined, edge)).guard.verdict).toBe('clean');
      const refused = await ask({ pixels: nested(new Uint8Array(64).fill(255)) }, undefined, edge);
      expect(refusalOf(refused)).toBe('500 guard_failed: the guard could not judge this input, so no label is given');
      expect(JSON.stringify(refused.body)).not.toMatch(/label"|scores/);
      const { body } = await edge.send('GET', '/v1/alerts', { token: TOKENS.operate });
      const [latest] = alertsResponse.parse(body).alerts;
      expect(latest).toMatchObject({ severity: 'critical', alert: { kind: 'guard-failure' } });
    } finally {
      await edge.miniflare.dispose();
    }
  });

  test('says that it is off where it is switched off, with the same label and scores', async () => {
    const { edge: unguarded } = await serve(content, { GUARD: 'off' });
    try {
      const guarded = await answerTo({ pixels: nested(bytesOf(1)) });
      const answer = await answerTo({ pixels: nested(bytesOf(1)) }, undefined, unguarded);
      expect(answer).toEqual({ ...guarded, guard: { verdict: 'off' } });
    } finally {
      await unguarded.miniflare.dispose();
    }
  });
});
