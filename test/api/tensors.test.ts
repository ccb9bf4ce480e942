import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeElements, encodeFloats, readImages, splitBody, splitElements } from '../../src/api/tensors.ts';
import { encodePng } from '../../src/image.ts';
import type { Result } from '../../src/result.ts';

const input = { height: 2, width: 3, channels: 1 };
const values = [0, 0.25, 0.5, 0.75, 1, 0.125];
const bytes = Uint8Array.of(0, 51, 102, 153, 204, 255);
const empty = new Uint8Array(0);
const shape = [1, 2, 3, 1];
const errorOf = (result: Result<unknown>): string => (result.ok ? 'accepted' : result.error);

/** The first image, or why there is none. */
function first(tensor: Parameters<typeof readImages>[0], binary: Uint8Array = empty): number[] | string {
  const images = readImages(tensor, binary, input, 4);
  const image = images.ok ? images.value.read(0) : images;
  return image.ok ? [...image.value] : image.error;
}
const binaryTensor = (datatype: string, binary: Uint8Array, axes = shape) =>
  first({ shape: axes, datatype, binarySizeBytes: binary.length }, binary);

describe('readImages', () => {
  test('reads FP32 and UINT8, from JSON nested or flat and from bytes, and files', () => {
    const nested = [
      [
        [[0], [0.25], [0.5]],
        [[0.75], [1], [0.125]],
      ],
    ];
    expect(first({ shape, datatype: 'FP32', data: values })).toEqual(values);
    expect(first({ shape, datatype: 'FP32', data: nested })).toEqual(values);
    expect(binaryTensor('FP32', encodeFloats(values))).toEqual(values);
    const scaled = [...Float32Array.from(bytes, (value) => value / 255)];
    expect(first({ shape, datatype: 'UINT8', data: [...bytes] })).toEqual(scaled);
    expect(binaryTensor('UINT8', bytes)).toEqual(scaled);
    const file = encodePng({ ...input, data: bytes });
    const binary = new Uint8Array(4 + file.length);
    binary.set([file.length, 0, 0, 0]);
    binary.set(file, 4);
    for (const axes of [[1], [1, 1]]) expect(binaryTensor('BYTES', binary, axes)).toEqual(scaled);
    expect(first({ shape: [1], datatype: 'BYTES', data: [Buffer.from(file).toString('base64')] })).toEqual(scaled);
  });

  test.each([Number.NaN, Infinity, -Infinity, -0.5, 1.5])('refuses the pixel %s as FP32', (wrong) => {
    const message = `images: expected numbers in 0..1, got ${wrong} at 5`;
    expect(binaryTensor('FP32', encodeFloats([...values.slice(0, 5), wrong]))).toBe(message);
    expect(first({ shape, datatype: 'FP32', data: [...values.slice(0, 5), wrong] })).toBe(message);
  });

  test.each([[[]], [[0, 2, 3, 1]], [[5, 2, 3, 1]], [[1, 3, 2, 1]], [[1, 2, 3]], [[2 ** 53, 2, 3, 1]], [[-1, 2, 3, 1]]])(
    'refuses the shape %j',
    (axes) => {
      expect(first({ shape: axes, datatype: 'FP32', data: values })).toMatch(/^images: expected shape \[B,2,3,1\]/);
    },
  );

  test('refuses data of another length, of another type, twice, or not at all', () => {
    expect(first({ shape, datatype: 'FP32', data: values.slice(1) })).toBe(
      'images: expected data of 6 elements, got 5',
    );
    expect(first({ shape, datatype: 'FP32' })).toBe('images: expected data of 6 elements, got 0');
    expect(first({ shape, datatype: 'UINT8', data: ['0', ...values.slice(1)] })).toBe(
      'images: expected numbers, got string',
    );
    expect(first({ shape, datatype: 'UINT8', data: values }, bytes)).toBe(
      'images: expected 0 bytes behind the JSON, got 6',
    );
    expect(first({ shape, datatype: 'UINT8', data: values, binarySizeBytes: 6 }, bytes)).toMatch(/got both$/);
    expect(first({ shape, datatype: 'UINT8', binarySizeBytes: 7 }, bytes)).toMatch(/expected 7 bytes behind/);
    expect(binaryTensor('FP32', bytes)).toBe('images: expected binary_data_size 24 for this shape, got 6');
  });

  test('answers images or one line of text, whatever shape, data and bytes come', () => {
    const tensors = fc.record({
      shape: fc.array(fc.oneof(fc.constantFrom(1, 2, 3), fc.integer(), fc.double()), { maxLength: 5 }),
      datatype: fc.constantFrom('FP32', 'UINT8', 'BYTES'),
      data: fc.jsonValue({ maxDepth: 4 }),
      binarySizeBytes: fc.option(fc.nat(30), { nil: undefined }),
    });
    fc.assert(
      fc.property(tensors, fc.uint8Array({ maxLength: 30 }), (tensor, binary) => {
        const answer = first(tensor, binary.subarray(0, tensor.binarySizeBytes ?? binary.length));
        if (typeof answer === 'string') expect(answer).toMatch(/^images[^\n]{1,300}$/);
        else expect(answer.every((value) => value >= 0 && value <= 1)).toBe(true);
      }),
      { numRuns: 1000 },
    );
  });
});

describe('splitBody', () => {
  test('parts the JSON from what follows, and takes all as JSON without a length', () => {
    expect(splitBody(bytes, '2')).toEqual({
      ok: true,
      value: { json: bytes.subarray(0, 2), binary: bytes.subarray(2) },
    });
    expect(splitBody(bytes, undefined)).toEqual({ ok: true, value: { json: bytes, binary: empty } });
  });

  test.each(['7', '-1', '1.5', '1e0', '', ' 1', '0x1', '99999999999999999999', 'NaN'])(
    'refuses the length "%s"',
    (length) => {
      expect(errorOf(splitBody(bytes, length))).toBe(
        'inference-header-content-length: expected at most the 6 bytes of the body',
      );
    },
  );
});

describe('elements', () => {
  test('come back as they were encoded, and from no shorter, longer or differently counted bytes', () => {
    fc.assert(
      fc.property(fc.array(fc.string(), { minLength: 1, maxLength: 5 }), fc.nat(), (texts, cut) => {
        const binary = encodeElements(texts);
        const back = splitElements(binary, texts.length);
        expect(back.ok && back.value.map((element) => new TextDecoder().decode(element))).toEqual(texts);
        expect(splitElements(binary.subarray(0, cut % binary.length), texts.length).ok).toBe(false);
        expect(splitElements(Uint8Array.from([...binary, 0]), texts.length).ok).toBe(false);
        expect(splitElements(binary, texts.length + 1).ok).toBe(false);
      }),
    );
  });

  test('a length near 2^32 is refused without being allocated', () => {
    const hostile = Uint8Array.of(255, 255, 255, 255, 1, 2);
    expect(errorOf(splitElements(hostile, 1))).toBe('images: element 0 ends behind the binary data');
  });
});
