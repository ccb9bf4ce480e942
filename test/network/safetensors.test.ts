import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  decodeSafetensors,
  decodeTensor,
  encodeSafetensors,
  headerSizeBytes,
  readHeader,
  type HostTensor,
} from '../../src/network/safetensors.ts';

const shape = fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 4 });
const tensor: fc.Arbitrary<HostTensor> = fc
  .tuple(fc.constantFrom('F32', 'U8', 'I32'), shape, fc.infiniteStream(fc.integer()))
  .map(([dtype, axes, values]) => {
    const count = axes.reduce((total, axis) => total * axis, 1);
    const list = [...values.take(count)];
    if (dtype === 'U8') return { dtype, shape: axes, data: Uint8Array.from(list) };
    if (dtype === 'I32') return { dtype, shape: axes, data: Int32Array.from(list) };
    return { dtype: 'F32', shape: axes, data: Float32Array.from(list, (value) => value / 1024) };
  });
const name = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 8 }).filter((text) => text !== '__metadata__');
const tensors = fc.uniqueArray(fc.tuple(name, tensor), { selector: ([key]) => key, maxLength: 5 });
const metadata = fc.dictionary(fc.stringMatching(/^[a-z]{1,5}$/), fc.string(), { maxKeys: 3 });

/** A file by its JSON header and its number of data bytes, written without the codec under test. */
function file(header: unknown, dataBytes: number): Uint8Array {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, Buffer.alloc(dataBytes)]);
}

const entry = (dtype: string, axes: unknown, start: unknown, end: unknown) => ({
  dtype,
  shape: axes,
  data_offsets: [start, end],
});

const sample = new Map<string, HostTensor>([
  ['a', { dtype: 'U8', shape: [3], data: Uint8Array.of(1, 2, 3) }],
  ['b', { dtype: 'F32', shape: [1, 2], data: Float32Array.of(-1.5, 3) }],
  ['c', { dtype: 'I32', shape: [], data: Int32Array.of(-7) }],
]);

describe('safetensors', () => {
  it('gives back every tensor, shape and metadata that it encoded', () => {
    fc.assert(
      fc.property(tensors, metadata, fc.integer({ min: 0, max: 7 }), (list, notes, shift) => {
        const bytes = encodeSafetensors(new Map(list), notes);
        expect(Number(new DataView(bytes.buffer).getBigUint64(0, true)) % 8).toBe(0);
        const moved = new Uint8Array(bytes.length + shift).subarray(shift);
        moved.set(bytes);
        const decoded = decodeSafetensors(moved);
        if (!decoded.ok) throw new Error(decoded.error);
        expect(decoded.value.metadata).toEqual(notes);
        expect(new Map(decoded.value.tensors)).toEqual(new Map(list));
      }),
    );
  });

  it('writes the bytes that the format describes', () => {
    const bytes = encodeSafetensors(new Map([['w', { dtype: 'U8', shape: [2], data: Uint8Array.of(5, 6) }]]));
    const json = '{"w":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}'.padEnd(56);
    expect(Buffer.from(bytes)).toEqual(Buffer.from([56, 0, 0, 0, 0, 0, 0, 0, ...Buffer.from(json), 5, 6]));
  });

  it('keeps the order of the tensors, whatever their names', () => {
    const scalar: HostTensor = { dtype: 'U8', shape: [], data: Uint8Array.of(1) };
    const names = ['z', '10', '2', '__proto__', 'constructor'];
    const decoded = decodeSafetensors(encodeSafetensors(new Map(names.map((key) => [key, scalar]))));
    expect(decoded.ok && [...decoded.value.tensors.keys()]).toEqual(names);
  });

  it('reads every tensor by its byte range alone, from a header that a prefix holds', () => {
    const bytes = encodeSafetensors(sample, { made: 'here' });
    const size = headerSizeBytes(bytes.subarray(0, 8));
    if (!size.ok) throw new Error(size.error);
    const header = readHeader(bytes.slice(0, size.value));
    if (!header.ok) throw new Error(header.error);
    expect(header.value.fileSizeBytes).toBe(bytes.length);
    for (const [key, range] of header.value.tensors) {
      const decoded = decodeTensor(key, range, bytes.slice(range.start, range.end));
      expect(decoded).toEqual({ ok: true, value: sample.get(key) });
      expect(decodeTensor(key, range, bytes.slice(range.start + 1, range.end)).ok).toBe(false);
    }
  });

  it('refuses a file that is truncated at any length, or has bytes after its end', () => {
    const bytes = encodeSafetensors(sample);
    for (let length = 0; length < bytes.length; length += 1) {
      expect(decodeSafetensors(bytes.subarray(0, length)).ok, `length ${length}`).toBe(false);
    }
    expect(decodeSafetensors(Buffer.concat([bytes, Buffer.alloc(1)])).ok).toBe(false);
  });

  it('never throws on flipped bits, and what it still decodes fills the file exactly', () => {
    const bytes = encodeSafetensors(sample, { note: 'flip me' });
    for (let bit = 0; bit < bytes.length * 8; bit += 1) {
      const flipped = bytes.slice();
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      expectWholeFile(flipped);
    }
  });

  it('never throws on hostile headers', () => {
    const number = fc.oneof(fc.constantFrom(0, -1, 1.5, 2 ** 31, 2 ** 53, 1e300), fc.integer({ min: 0, max: 16 }));
    const hostile = fc.record({
      dtype: fc.constantFrom('F32', 'U8', 'I64', 'F64', 'constructor', ''),
      shape: fc.array(number, { maxLength: 4 }),
      data_offsets: fc.array(number, { minLength: 1, maxLength: 3 }),
    });
    const value = fc.oneof(hostile, fc.jsonValue());
    const header = fc.dictionary(fc.constantFrom('a', 'b', '__metadata__', '__proto__'), value);
    fc.assert(
      fc.property(fc.oneof(header, fc.jsonValue(), fc.string()), fc.integer({ min: 0, max: 64 }), (json, size) => {
        expectWholeFile(file(json, size));
      }),
      { numRuns: 500 },
    );
    fc.assert(fc.property(fc.uint8Array({ maxLength: 64 }), expectWholeFile));
  });

  it.each([
    ['an unknown element type', { x: entry('F64', [1], 0, 8) }, 8, /tensor "x": dtype: expected one of .*got F64/],
    ['half precision', { x: entry('F16', [1], 0, 2) }, 2, /tensor "x": dtype: .*got F16/],
    ['a hole', { x: entry('U8', [1], 1, 2) }, 2, /tensor "x": data_offsets: leaves a hole/],
    ['an overlap', { x: entry('U8', [2], 0, 2), y: entry('U8', [2], 1, 3) }, 3, /"y": data_offsets: overlaps/],
    ['two tensors on the same bytes', { x: entry('U8', [2], 0, 2), y: entry('U8', [2], 0, 2) }, 2, /overlaps/],
    ['a shape that does not fill its bytes', { x: entry('F32', [3], 0, 8) }, 8, /"x": data_offsets: expected 12 bytes/],
    [
      'a shape past all integers',
      { x: entry('U8', [2 ** 40, 2 ** 40, 0], 0, 0) },
      0,
      /"x": data_offsets: expected Inf/,
    ],
    ['offsets that run backwards', { x: entry('U8', [0], 4, 0) }, 4, /"x": data_offsets: expected 0 bytes/],
    ['a negative axis', { x: entry('U8', [-1], 0, 0) }, 0, /"x": shape\.0/],
    ['metadata that are no strings', { __metadata__: { a: 1 } }, 0, /__metadata__: expected an object of strings/],
    ['a header that is a list', [], 0, /expected a JSON object/],
    ['a header that is no JSON', '{', 0, /expected a JSON object/],
    ['fewer bytes than the header says', { x: entry('U8', [9], 0, 9) }, 8, /expected \d+ bytes by the header, got \d+/],
  ])('refuses %s and says so', (_, header, dataBytes, message) => {
    const decoded = decodeSafetensors(file(header, dataBytes));
    expect(decoded).toEqual({ ok: false, error: expect.stringMatching(message) as string });
  });

  it('refuses a header length past the limit before it looks for the header', () => {
    const bytes = Buffer.alloc(8, 0xff);
    expect(decodeSafetensors(bytes)).toEqual({ ok: false, error: expect.stringContaining('header length') as string });
  });

  it('reads I64 as I32, and refuses a value that does not fit', () => {
    const header = { labels: entry('I64', [3], 0, 24) };
    const decode = (values: bigint[]) => {
      const bytes = Buffer.from(file(header, 24));
      values.forEach((value, index) => bytes.writeBigInt64LE(value, bytes.length - 24 + index * 8));
      return decodeSafetensors(bytes);
    };
    const fits = decode([-5n, 2n ** 31n - 1n, -(2n ** 31n)]);
    expect(fits.ok && fits.value.tensors.get('labels')).toEqual({
      dtype: 'I32',
      shape: [3],
      data: Int32Array.of(-5, 2 ** 31 - 1, -(2 ** 31)),
    });
    for (const value of [2n ** 31n, -(2n ** 31n) - 1n, 2n ** 32n, 2n ** 62n]) {
      expect(decode([0n, value, 0n])).toEqual({ ok: false, error: expect.stringContaining('"labels"') as string });
    }
  });

  it('throws when asked to encode a shape that does not match its data', () => {
    const wrong: HostTensor = { dtype: 'F32', shape: [3], data: new Float32Array(2) };
    expect(() => encodeSafetensors(new Map([['w', wrong]]))).toThrow('tensor "w" [3] cannot hold 2 F32 values');
  });
});

/** Decodes, and where that succeeds checks that the tensors tile the data section: none shared, none left. */
function expectWholeFile(bytes: Uint8Array): void {
  const decoded = decodeSafetensors(bytes);
  const header = readHeader(bytes);
  if (!decoded.ok) {
    expect(decoded.error).toMatch(/^safetensors: /);
    return;
  }
  const size = headerSizeBytes(bytes);
  if (!header.ok || !size.ok) throw new Error('a file decoded whose header does not read');
  let end = size.value;
  for (const range of header.value.tensors.values()) {
    expect(range.start).toBe(end);
    end = range.end;
  }
  expect(end).toBe(bytes.length);
}
