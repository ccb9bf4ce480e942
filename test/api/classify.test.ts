import fc from 'fast-check';
import { expect, test } from 'vitest';
import { imageFromPixels } from '../../src/api/classify.ts';
import { openApi } from '../../src/api/open-api.ts';
import { routes } from '../../src/api/routes.ts';

const input = { height: 2, width: 3, channels: 1 };
const pixels = [
  [[0], [51], [102]],
  [[153], [204], [255]],
];

test('pixels 0..255 become an image 0..1, row by row', () => {
  expect(imageFromPixels(pixels, input, 'pixels')).toEqual({
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
  const result = imageFromPixels(wrong, input, 'pixels');
  expect(result.ok ? '' : result.error).toContain(message);
});

test('whatever JSON comes as pixels, the answer is an image in 0..1 of the right size or one line of text', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 4 }), (value) => {
      const result = imageFromPixels(value, input, 'pixels');
      if (!result.ok) expect(result.error).toMatch(/^pixels[^\n]{1,200}$/);
      else expect(result.value.every((number) => number >= 0 && number <= 1)).toBe(true);
    }),
  );
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
  for (const { path, operation } of operations) {
    expect(operation.responses).toHaveProperty(['200', '201'].find((status) => status in operation.responses)!);
    expect(operation.security !== undefined).toBe(path.startsWith('/v1/'));
    const named = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
    expect(operation.parameters.filter((parameter) => parameter.in === 'path').map(({ name }) => name)).toEqual(named);
  }
});

type Operation = { responses: object; security?: unknown; parameters: { name: string; in: string }[] };
