import fc from 'fast-check';
import { expect, test } from 'vitest';
import { topLabels } from '../../src/api/classify.ts';
import { openApi } from '../../src/api/open-api.ts';
import { imageFromBase64, imageFromJson, imageFromPixels } from '../../src/api/pixels.ts';
import type { Route } from '../../src/api/route.ts';
import { routes } from '../../src/api/routes.ts';
import { encodePng } from '../../src/image.ts';

const input = { height: 2, width: 3, channels: 1 };
const pixels = [
  [[0], [51], [102]],
  [[153], [204], [255]],
];

test('pixels 0..255 become an image 0..1, row by row', () => {
  expect(imageFromPixels(pixels, input, 'pixels', 255)).toEqual({
    ok: true,
    value: Float32Array.from([0, 0.2, 0.4, 0.6, 0.8, 1]),
  });
});

test.each([
  ['a missing row', [pixels[0]], 'pixels: expected numbers [2,3,1], got [1,3,1]'],
  ['a short row', [[[0]], [[0]]], 'pixels: expected numbers [2,3,1], got [2,1,1]'],
  ['too many channels', pixels.map((row) => row.map((pixel) => [...pixel, 0])), 'got [2,3,2]'],
  ['no array', 'pixels', 'got string'],
  ['nothing', undefined, 'got undefined'],
  ['a number over 255', [pixels[0], [[0], [0], [256]]], 'pixels[1][2][0]: expected a number in 0..255, got 256'],
  ['a negative number', [[[-1], [0], [0]], pixels[1]], 'pixels[0][0][0]: expected a number in 0..255, got -1'],
  ['NaN', [[[0], [Number.NaN], [0]], pixels[1]], 'pixels[0][1][0]: expected a number in 0..255, got NaN'],
  ['infinity', [[[0], [Infinity], [0]], pixels[1]], 'got Infinity'],
  ['text', [[['1'], [0], [0]], pixels[1]], 'got string'],
  ['null', [[[null], [0], [0]], pixels[1]], 'got object'],
])('pixels with %s are refused with the place and what came', (_, wrong, message) => {
  const result = imageFromPixels(wrong, input, 'pixels', 255);
  expect(result.ok ? '' : result.error).toContain(message);
});

test('whatever JSON comes as pixels, the answer is an image in 0..1 of the right size or one line of text', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 4 }), (value) => {
      const result = imageFromPixels(value, input, 'pixels', 255);
      if (!result.ok) expect(result.error).toMatch(/^pixels[^\n]{1,200}$/);
      else expect(result.value.every((number) => number >= 0 && number <= 1)).toBe(true);
    }),
  );
});

test('pixels 0..1 are taken as they are, and 1.01 is refused where 1 is the largest', () => {
  const unit = pixels.map((row) => row.map((pixel) => pixel.map((value) => value / 255)));
  expect(imageFromPixels(unit, input, 'pixels', 1)).toEqual(imageFromPixels(pixels, input, 'pixels', 255));
  const over = imageFromPixels([[[1.01], [0], [0]], unit[1]], input, 'pixels', 1);
  expect(over).toEqual({ ok: false, error: 'pixels[0][0][0]: expected a number in 0..1, got 1.01' });
});

test('an image in base64 is the image, and every other text is refused in one line', () => {
  const file = encodePng({ height: 2, width: 3, channels: 1, data: Uint8Array.of(0, 51, 102, 153, 204, 255) });
  const text = Buffer.from(file).toString('base64');
  expect(imageFromJson({ b64: text }, input, 'images[0]', 255)).toEqual(
    imageFromPixels(pixels, input, 'images[0]', 255),
  );
  fc.assert(
    fc.property(fc.string(), fc.nat(text.length - 1), (other, at) => {
      for (const wrong of [other, text.slice(0, at), text.slice(0, at) + '*' + text.slice(at + 1)]) {
        const result = imageFromBase64(wrong, input, 'images[0]');
        expect(result.ok ? '' : result.error).toMatch(/^images\[0\]: [^\n]{1,200}$/);
      }
    }),
  );
});

test('an object that is not {"b64": text} is refused', () => {
  for (const wrong of [{}, { b64: 1 }, { b64: '', other: 1 }, { image: '' }]) {
    expect(imageFromJson(wrong, input, 'images[0]', 255)).toEqual({
      ok: false,
      error: 'images[0]: expected pixels or {"b64": "..."}, got another object',
    });
  }
});

test('the top labels are those with the highest scores, highest first, ties by label', () => {
  expect(topLabels([0.2, 0.5, 0.1, 0.2], ['a', 'b', 'c', 'd'], 3)).toEqual([
    { label: 1, labelName: 'b', score: 0.5 },
    { label: 0, labelName: 'a', score: 0.2 },
    { label: 3, labelName: 'd', score: 0.2 },
  ]);
  expect(topLabels([0.2, 0.8], ['a', 'b'], 1000)).toHaveLength(2);
});

test('the OpenAPI document lists every route with its answers, and whoever needs a token', () => {
  const document = JSON.parse(JSON.stringify(openApi())) as ReturnType<typeof openApi>;
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation: operation as Operation })),
  );
  expect(operations.map(({ path, method }) => `${method} ${path}`).sort()).toEqual(
    Object.values(routes)
      .map(({ path, method }) => `${method} ${path}`)
      .sort(),
  );
  for (const { path, method, operation } of operations) {
    const route = Object.values<Route>(routes).find((route) => route.path === path && route.method === method);
    expect(operation.responses).toHaveProperty(['200', '201', '101'].find((status) => status in operation.responses)!);
    expect(operation.security !== undefined).toBe(route!.roles.length > 0);
    const named = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
    expect(operation.parameters.filter((parameter) => parameter.in === 'path').map(({ name }) => name)).toEqual(named);
  }
});

type Operation = { responses: object; security?: unknown; parameters: { name: string; in: string }[] };
