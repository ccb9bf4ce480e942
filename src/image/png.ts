/**
 * PNG to 8-bit pixels (W3C PNG, third edition). fast-png unfilters and checks the CRCs; what it leaves to its caller is done
 * here: the size limit, the bound on what the zlib stream may inflate to, palettes and bit depths. Only the chunks that
 * carry pixels reach it, so that a compressed profile or text cannot be a second bomb.
 */
import { convertIndexedToRgb, decode, type DecodedPng } from 'fast-png';
import { Unzlib } from 'fflate';
import type { Image, ImageLimits } from '../image.ts';
import { failure, success, type Result } from '../result.ts';

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const PIXEL_CHUNKS = new Set(['IHDR', 'PLTE', 'tRNS', 'IDAT', 'IEND']);
// Deflate expands at most 1032 times, so that one push can add about 4 MiB beyond the bound before it is noticed.
const PUSH_BYTES = 4096;

const GREY = 0;
const PALETTE = 3;
/** Channels and allowed bit depths by colour type (table 11.1). */
const COLOUR_TYPES = new Map([
  [GREY, { channels: 1, depths: [1, 2, 4, 8, 16] }],
  [2, { channels: 3, depths: [8, 16] }],
  [PALETTE, { channels: 1, depths: [1, 2, 4, 8] }],
  [4, { channels: 2, depths: [8, 16] }],
  [6, { channels: 4, depths: [8, 16] }],
]);

type Chunk = { type: string; whole: Uint8Array; data: Uint8Array };
type Header = { height: number; width: number; depth: number; colourType: number; rawSizeBytes: number };

/** Whether the bytes begin like a PNG. */
export const isPng = (bytes: Uint8Array): boolean => SIGNATURE.every((byte, index) => bytes[index] === byte);

/** Decodes a PNG to [H,W,C]; C is 1 to 4 as the file says, a palette becomes RGB or RGBA. Fails as `decodeImage` says. */
export function decodePng(bytes: Uint8Array, limits: ImageLimits): Result<Image> {
  const chunks = readChunks(bytes);
  if (!chunks.ok) return chunks;
  const header = readHeader(chunks.value, limits);
  if (!header.ok) return header;
  const { rawSizeBytes } = header.value;
  try {
    const inflated = inflatedSizeBytes(chunks.value, rawSizeBytes);
    if (inflated !== rawSizeBytes) {
      const got = inflated > rawSizeBytes ? 'more' : inflated;
      return failure(`image: corrupt PNG: expected pixel data of ${rawSizeBytes} bytes, got ${got}`);
    }
    return success(pixels(decode(joinChunks(chunks.value), { checkCrc: true }), header.value));
  } catch (error) {
    return failure(`image: corrupt PNG: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** The chunks that carry pixels, up to and with IEND. */
function readChunks(bytes: Uint8Array): Result<Chunk[]> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const chunks: Chunk[] = [];
  let offset = SIGNATURE.length;
  while (chunks.at(-1)?.type !== 'IEND') {
    const dataStart = offset + 8;
    const end = dataStart <= bytes.length ? dataStart + view.getUint32(offset) + 4 : Infinity;
    if (end > bytes.length) return failure(`image: truncated PNG: a chunk at byte ${offset} ends behind the file`);
    const type = String.fromCharCode(...bytes.subarray(offset + 4, dataStart));
    if (PIXEL_CHUNKS.has(type)) {
      const repeated = type !== 'IDAT' && chunks.some((chunk) => chunk.type === type);
      if (repeated) return failure(`image: corrupt PNG: chunk ${type} comes twice`);
      chunks.push({ type, whole: bytes.subarray(offset, end), data: bytes.subarray(dataStart, end - 4) });
    }
    offset = end;
  }
  return success(chunks);
}

function readHeader(chunks: Chunk[], { maxPixels }: ImageLimits): Result<Header> {
  const [first] = chunks;
  if (first?.type !== 'IHDR' || first.data.length !== 13) {
    return failure('image: corrupt PNG: expected it to begin with chunk IHDR of 13 bytes');
  }
  const view = new DataView(first.data.buffer, first.data.byteOffset, first.data.length);
  const [width, height] = [view.getUint32(0), view.getUint32(4)];
  const [depth, colourType, interlace] = [view.getUint8(8), view.getUint8(9), view.getUint8(12)];
  if (height < 1 || width < 1 || height * width > maxPixels) {
    return failure(`image: expected 1 to ${maxPixels} pixels, got ${height} x ${width}`);
  }
  const colour = COLOUR_TYPES.get(colourType);
  if (!colour?.depths.includes(depth)) {
    return failure(`image: corrupt PNG: colour type ${colourType} does not go with ${depth} bits`);
  }
  if (interlace !== 0) return failure('image: expected a PNG without interlacing, got an interlaced one');
  if (colourType !== PALETTE && chunks.some(({ type }) => type === 'tRNS')) {
    return failure('image: expected a PNG without a transparent colour, got one with chunk tRNS');
  }
  const lineBytes = 1 + Math.ceil((width * colour.channels * depth) / 8);
  return success({ height, width, depth, colourType, rawSizeBytes: height * lineBytes });
}

/** How long the pixel data is once inflated, counted piece by piece and only until it is longer than `limitBytes`. */
function inflatedSizeBytes(chunks: Chunk[], limitBytes: number): number {
  let sizeBytes = 0;
  const inflater = new Unzlib((piece) => {
    sizeBytes += piece.length;
  });
  for (const { data } of chunks.filter(({ type }) => type === 'IDAT')) {
    for (let start = 0; start < data.length; start += PUSH_BYTES) {
      inflater.push(data.subarray(start, start + PUSH_BYTES), false);
      if (sizeBytes > limitBytes) return sizeBytes;
    }
  }
  inflater.push(new Uint8Array(0), true);
  return sizeBytes;
}

function joinChunks(chunks: Chunk[]): Uint8Array {
  const parts = [Uint8Array.from(SIGNATURE), ...chunks.map(({ whole }) => whole)];
  const joined = new Uint8Array(parts.reduce((total, part) => total + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.length;
  }
  return joined;
}

function pixels(decoded: DecodedPng, header: Header): Image {
  const { height, width } = header;
  if (header.colourType === PALETTE) {
    const data = convertIndexedToRgb(decoded);
    return { height, width, channels: data.length / (height * width), data };
  }
  const { channels } = decoded;
  if (header.depth === 8) return { height, width, channels, data: Uint8Array.from(decoded.data) };
  if (header.depth === 16) {
    return { height, width, channels, data: Uint8Array.from(decoded.data, (value) => Math.round(value / 257)) };
  }
  return { height, width, channels, data: unpackGrey(decoded.data, header) };
}

/** Grey of 1, 2 or 4 bits, whole bytes a line, scaled to 0..255. */
function unpackGrey(packed: ArrayLike<number>, { height, width, depth }: Header): Uint8Array {
  const data = new Uint8Array(height * width);
  const lineBytes = Math.ceil((width * depth) / 8);
  const largest = 2 ** depth - 1;
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const bit = column * depth;
      const byte = packed[row * lineBytes + (bit >> 3)]!;
      data[row * width + column] = (((byte >> (8 - depth - (bit & 7))) & largest) * 255) / largest;
    }
  }
  return data;
}
