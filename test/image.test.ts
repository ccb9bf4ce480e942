import { readFileSync } from 'node:fs';
import { deflateSync, crc32 } from 'node:zlib';
import fc from 'fast-check';
import jpeg from 'jpeg-js';
import { describe, expect, test } from 'vitest';
import { decodeImage, encodePng, toChannels, type Image } from '../src/image.ts';

type Golden = { name: string; width: number; height: number; channels: number; file: string; pixels: string };

// Written and read by Pillow, which shares no code with this program: golden/images.py.
const goldens = JSON.parse(readFileSync(new URL('golden/images.json', import.meta.url), 'utf8')) as Golden[];
const limits = { maxPixels: 1024 };
const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'base64'));
const golden = (name: string): Uint8Array => bytesOf(goldens.find((item) => item.name === name)!.file);

function errorOf(bytes: Uint8Array, maxPixels = limits.maxPixels): string {
  const result = decodeImage(bytes, { maxPixels });
  return result.ok ? 'decoded' : result.error;
}

function chunk(type: string, data: Uint8Array): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const whole = Buffer.alloc(body.length + 8);
  whole.writeUInt32BE(data.length, 0);
  body.copy(whole, 4);
  whole.writeUInt32BE(crc32(body), body.length + 4);
  return whole;
}

type Header = { width: number; height: number; depth?: number; colourType?: number; interlace?: number };

/** A PNG built by hand: `raw` is the pixel data before compression, `extra` are chunks before it. */
function png(
  { width, height, depth = 8, colourType = 0, interlace = 0 }: Header,
  raw: Uint8Array,
  extra: Buffer[] = [],
) {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([depth, colourType, 0, 0, interlace], 8);
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  const chunks = [chunk('IHDR', header), ...extra, chunk('IDAT', deflateSync(raw)), chunk('IEND', new Uint8Array(0))];
  return new Uint8Array(Buffer.concat([signature, ...chunks]));
}

const images = fc
  .record({
    height: fc.integer({ min: 1, max: 9 }),
    width: fc.integer({ min: 1, max: 9 }),
    channels: fc.integer({ min: 1, max: 4 }),
  })
  .chain((shape) => {
    const length = shape.height * shape.width * shape.channels;
    return fc.uint8Array({ minLength: length, maxLength: length }).map((data): Image => ({ ...shape, data }));
  });

describe('decodeImage', () => {
  test.each(goldens.filter(({ name }) => name.includes('PNG')))('reads $name as Pillow does', (item) => {
    const { height, width, channels } = item;
    expect(decodeImage(bytesOf(item.file), limits)).toEqual({
      ok: true,
      value: { height, width, channels, data: bytesOf(item.pixels) },
    });
  });

  test.each(goldens.filter(({ name }) => name.includes('JPEG')))('reads $name within 3 levels of libjpeg', (item) => {
    const result = decodeImage(bytesOf(item.file), limits);
    if (!result.ok) throw new Error(result.error);
    const { height, width, channels, data } = result.value;
    expect([height, width, channels]).toEqual([item.height, item.width, 3]);
    const expected = bytesOf(item.pixels);
    expect(data.length).toBe(expected.length);
    expect(Math.max(...data.map((value, index) => Math.abs(value - expected[index]!)))).toBeLessThanOrEqual(3);
  });

  test.each([1, 2, 4])('scales grey of %i bits to 0..255 with lines padded to whole bytes', (depth) => {
    const largest = 2 ** depth - 1;
    const line = Buffer.from([0, largest << (8 - depth), depth === 4 ? 0xf0 : 0]);
    const width = 8 / depth + 1;
    const raw = Buffer.concat([line, line]);
    const result = decodeImage(png({ width, height: 2, depth }, raw), limits);
    const row = [255, ...Array.from({ length: width - 2 }, () => 0), depth === 4 ? 255 : 0];
    expect(result).toEqual({
      ok: true,
      value: { height: 2, width, channels: 1, data: Uint8Array.from([...row, ...row]) },
    });
  });

  test('gives a palette with transparency as RGBA', () => {
    const extra = [chunk('PLTE', Buffer.from([1, 2, 3, 4, 5, 6])), chunk('tRNS', Buffer.from([128]))];
    const result = decodeImage(png({ width: 2, height: 1, colourType: 3 }, Buffer.from([0, 0, 1]), extra), limits);
    const data = Uint8Array.from([1, 2, 3, 128, 4, 5, 6, 255]);
    expect(result).toEqual({ ok: true, value: { height: 1, width: 2, channels: 4, data } });
  });

  test('encodes and decodes any pixels without loss, from any place in a buffer', () => {
    fc.assert(
      fc.property(images, fc.nat(7), (image, shift) => {
        const encoded = encodePng(image);
        const shifted = new Uint8Array(encoded.length + shift).subarray(shift);
        shifted.set(encoded);
        expect(decodeImage(shifted, limits)).toEqual({ ok: true, value: image });
      }),
    );
  });

  test('does not encode pixels that do not fit their shape', () => {
    expect(() => encodePng({ height: 2, width: 2, channels: 1, data: new Uint8Array(3) })).toThrow('expected 4 bytes');
  });
});

describe('decodeImage refuses', () => {
  const grey = { width: 2, height: 1 };
  const raw = Buffer.from([0, 7, 9]);
  const jpegFile = golden('a baseline JPEG');

  function changed(bytes: Uint8Array, find: number[], at: number, value: number): Uint8Array {
    const copy = Uint8Array.from(bytes);
    copy[Buffer.from(copy).indexOf(Buffer.from(find)) + at] = value;
    return copy;
  }

  test.each([
    ['other formats', Buffer.from('GIF89a'), 'expected PNG or JPEG, got 6 bytes'],
    ['nothing', new Uint8Array(0), 'expected PNG or JPEG, got 0 bytes'],
    ['a PNG of no pixels', png({ width: 0, height: 5 }, raw), 'expected 1 to 1024 pixels, got 5 x 0'],
    ['a PNG of too many pixels', png({ width: 4e9, height: 4e9 }, raw), 'expected 1 to 1024 pixels, got 4000000000 x'],
    ['a bit depth that its colours exclude', png({ ...grey, depth: 4, colourType: 2 }, raw), 'does not go with 4 bits'],
    ['an interlaced PNG', png({ ...grey, interlace: 1 }, raw), 'without interlacing'],
    ['a transparent colour', png(grey, raw, [chunk('tRNS', Buffer.from([0, 7]))]), 'chunk tRNS'],
    ['a PNG with too few lines', png({ ...grey, height: 2 }, raw), 'expected pixel data of 6 bytes, got 3'],
    ['a PNG with too many lines', png(grey, Buffer.alloc(9)), 'expected pixel data of 3 bytes, got more'],
    ['an unknown filter', png(grey, Buffer.from([9, 0, 0])), 'filter'],
    ['a palette index out of range', png({ ...grey, colourType: 3 }, raw, [chunk('PLTE', Buffer.alloc(3))]), 'palette'],
    ['a second header', png(grey, raw, [chunk('IHDR', Buffer.alloc(13))]), 'IHDR comes twice'],
    ['a PNG without its header', golden('a grey PNG').slice(0, 8), 'truncated PNG'],
    ['a JPEG of too many pixels', changed(jpegFile, [0xff, 0xc0], 5, 255), 'expected 1 to 1024 pixels, got'],
    ['a lossless JPEG', changed(jpegFile, [0xff, 0xc0], 1, 0xc3), 'baseline or progressive'],
    ['a JPEG of 12 bits', changed(jpegFile, [0xff, 0xc0], 4, 12), 'of 8 bits, got 12'],
    ['a JPEG of 4 components', changed(jpegFile, [0xff, 0xc0], 9, 4), '1 or 3 components, got 4'],
    ['wild sampling factors', changed(jpegFile, [0xff, 0xc0], 11, 0xff), 'sampling factors of 1 to 4'],
    ['a JPEG without a picture', Buffer.from([0xff, 0xd8, 0xff, 0xd9]), 'holds no picture'],
    ['a JPEG without quantisation tables', changed(jpegFile, [0xff, 0xdb], 1, 0xfe), 'corrupt JPEG'],
  ])('%s', (_name, bytes, expected) => {
    expect(errorOf(new Uint8Array(bytes))).toContain(expected);
  });

  test('a checksum that does not hold, though the pixels inflate', () => {
    const bytes = png(grey, raw);
    bytes[bytes.length - 13]! ^= 1;
    expect(errorOf(bytes)).toContain('CRC mismatch for chunk IDAT');
  });

  test('every truncation of every golden file', () => {
    for (const { file } of goldens) {
      const bytes = bytesOf(file);
      for (let length = 0; length < bytes.length; length++) {
        expect(errorOf(bytes.subarray(0, length))).toMatch(/^image: (truncated|corrupt|expected PNG or JPEG)/);
      }
    }
  });

  test('a JPEG cut short whose end was mended', () => {
    const end = Uint8Array.from([0xff, 0xd9]);
    for (const keep of [0.7, 0.8, 0.9]) {
      const part = jpegFile.subarray(0, Math.floor(jpegFile.length * keep));
      expect(errorOf(new Uint8Array(Buffer.concat([part, end])))).toMatch(/^image: (truncated|corrupt) JPEG/);
    }
  });

  test('a JPEG whose scans never end', () => {
    const start = Buffer.from(jpegFile).indexOf(Buffer.from([0xff, 0xda]));
    const scan = jpegFile.subarray(start, -2);
    const bytes = Buffer.concat([
      jpegFile.subarray(0, start),
      ...Array.from({ length: 101 }, () => scan),
      jpegFile.subarray(-2),
    ]);
    expect(errorOf(new Uint8Array(bytes))).toContain('at most 100 scans');
  });

  test('a PNG that inflates to 64 MiB, without inflating all of it', () => {
    const zeros = deflateSync(Buffer.alloc(64 * 1024 * 1024));
    const before = process.memoryUsage().arrayBuffers;
    const bytes = png({ width: 32, height: 32 }, Buffer.alloc(0));
    const end = bytes.length - 12;
    const idat = chunk('IDAT', zeros);
    const bomb = Buffer.concat([bytes.subarray(0, 33), idat, bytes.subarray(end)]);
    expect(errorOf(new Uint8Array(bomb))).toContain('expected pixel data of 1056 bytes, got more');
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(32 * 1024 * 1024);
  });

  test('a compressed profile is never inflated', () => {
    const profile = Buffer.concat([Buffer.from('x\0\0', 'latin1'), Buffer.from('not zlib at all')]);
    expect(errorOf(png(grey, raw, [chunk('iCCP', profile)]))).toBe('decoded');
  });
});

describe('decodeImage under attack', () => {
  const files = [
    ...goldens.map(({ file }) => bytesOf(file)),
    new Uint8Array(jpeg.encode({ width: 5, height: 4, data: Buffer.alloc(80, 99) }, 60).data),
  ];

  test('never throws and never exceeds the pixel limit, whatever bytes are flipped', () => {
    const flips = fc.array(fc.record({ at: fc.nat(), value: fc.integer({ min: 0, max: 255 }) }), {
      minLength: 1,
      maxLength: 8,
    });
    fc.assert(
      fc.property(fc.constantFrom(...files), flips, (file, changes) => {
        const bytes = Uint8Array.from(file);
        for (const { at, value } of changes) bytes[at % bytes.length] = value;
        const result = decodeImage(bytes, limits);
        if (!result.ok) {
          expect(result.error).toMatch(/^image: /);
          return;
        }
        const { height, width, channels, data } = result.value;
        expect(height * width).toBeLessThanOrEqual(limits.maxPixels);
        expect(data.length).toBe(height * width * channels);
      }),
      { numRuns: 3000 },
    );
  });

  test('never throws on any bytes behind a signature', () => {
    const starts = fc.constantFrom([0xff, 0xd8, 0xff], [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
    fc.assert(
      fc.property(starts, fc.uint8Array({ maxLength: 200 }), (start, rest) => {
        expect(decodeImage(Uint8Array.from([...start, ...rest]), limits).ok).toBe(false);
      }),
      { numRuns: 1000 },
    );
  });
});

describe('toChannels', () => {
  const image = (channels: number, ...data: number[]): Image => ({
    height: 1,
    width: data.length / channels,
    channels,
    data: Uint8Array.from(data),
  });

  test.each([
    ['keeps what fits', image(3, 1, 2, 3), 3, image(3, 1, 2, 3)],
    ['keeps alpha for a model that takes it', image(4, 1, 2, 3, 9), 4, image(4, 1, 2, 3, 9)],
    ['drops opaque alpha from grey', image(2, 7, 255, 8, 255), 1, image(1, 7, 8)],
    ['drops opaque alpha from RGB', image(4, 1, 2, 3, 255, 4, 5, 6, 255), 3, image(3, 1, 2, 3, 4, 5, 6)],
    ['repeats grey as RGB', image(1, 7, 8), 3, image(3, 7, 7, 7, 8, 8, 8)],
    ['repeats opaque grey as RGB', image(2, 7, 255), 3, image(3, 7, 7, 7)],
    ['takes RGB that is grey as grey', image(3, 7, 7, 7, 8, 8, 8), 1, image(1, 7, 8)],
    ['takes opaque RGBA that is grey as grey', image(4, 7, 7, 7, 255), 1, image(1, 7)],
  ])('%s', (_name, given, channels, expected) => {
    expect(toChannels(given, channels)).toEqual({ ok: true, value: expected });
  });

  test.each([
    [
      'colour for a grey model',
      image(3, 7, 7, 7, 7, 8, 7),
      1,
      'expected 1 channel, got 3 that differ (a colour image)',
    ],
    [
      'pixels that are not opaque',
      image(4, 1, 2, 3, 254),
      3,
      'expected no transparency, got pixels that are not opaque',
    ],
    ['what no rule fits', image(1, 7), 5, 'expected 5 channels, got 1'],
  ])('refuses %s', (_name, given, channels, expected) => {
    expect(toChannels(given, channels)).toEqual({ ok: false, error: `image: ${expected}` });
  });
});
