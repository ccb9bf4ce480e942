/**
 * JPEG to RGB (ITU-T T.81). jpeg-js decodes; before that the whole file is walked here, marker by marker, because jpeg-js
 * reads past the end of a file as if zeros followed, takes hostile sampling factors, and spends a full pass on each scan.
 */
import jpeg from 'jpeg-js';
import type { Image, ImageLimits } from '../image.ts';
import { failure, success, type Result } from '../result.ts';

// Coefficients, planes and output come to about 24 bytes a pixel; blocks at the border add to small images.
const MEMORY_BYTES_PER_PIXEL = 48;
const MEMORY_BYTES_BASE = 1024 * 1024;
const MAX_SCANS = 100;

const START_OF_SCAN = 0xda;
const END_OF_IMAGE = 0xd9;
const ADOBE = 0xee;

type Walk = { frames: number; scans: number; rgb: boolean };

/** Whether the bytes begin like a JPEG. */
export const isJpeg = (bytes: Uint8Array): boolean => bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff;

/** Decodes a baseline or progressive JPEG, grey or colour, to RGB [H,W,3]. Fails as `decodeImage` says. */
export function decodeJpeg(bytes: Uint8Array, limits: ImageLimits): Result<Image> {
  const walk = walkMarkers(bytes, limits);
  if (!walk.ok) return walk;
  try {
    const { height, width, data } = jpeg.decode(bytes, {
      useTArray: true,
      formatAsRGBA: false,
      tolerantDecoding: false,
      colorTransform: !walk.value.rgb,
      maxResolutionInMP: limits.maxPixels / 1e6,
      maxMemoryUsageInMB: (MEMORY_BYTES_BASE + limits.maxPixels * MEMORY_BYTES_PER_PIXEL) / 1024 ** 2,
    });
    return success({ height, width, channels: 3, data });
  } catch (error) {
    return failure(`image: corrupt JPEG: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** Follows the markers from the first to the end of the image and checks what they declare. */
function walkMarkers(bytes: Uint8Array, limits: ImageLimits): Result<Walk> {
  const walk: Walk = { frames: 0, scans: 0, rgb: false };
  const truncated = failure('image: truncated JPEG: the end-of-image marker is missing');
  let offset = 2;
  for (;;) {
    if (offset + 1 >= bytes.length) return truncated;
    if (bytes[offset] !== 0xff) return failure(`image: corrupt JPEG: expected a marker at byte ${offset}`);
    const marker = bytes[offset + 1]!;
    if (marker === 0xff) {
      offset += 1;
      continue;
    }
    if (marker === END_OF_IMAGE) break;
    const end = offset + 2 + (((bytes[offset + 2] ?? 0) << 8) | (bytes[offset + 3] ?? 0));
    if (end > bytes.length) return truncated;
    if (end < offset + 4) return failure(`image: corrupt JPEG: the segment at byte ${offset} has no length`);
    const wrong = readSegment(marker, bytes.subarray(offset + 4, end), walk, limits);
    if (wrong) return failure(`image: ${wrong}`);
    offset = marker === START_OF_SCAN ? scanEnd(bytes, end) : end;
  }
  return walk.scans > 0 ? success(walk) : failure('image: corrupt JPEG: it holds no picture');
}

/** Takes up what a segment declares; answers what is wrong with it, if anything is. */
function readSegment(marker: number, segment: Uint8Array, walk: Walk, { maxPixels }: ImageLimits): string | null {
  const isFrame = marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;
  if (isFrame) {
    if (marker > 0xc2) return 'expected a baseline or progressive JPEG, got a lossless, hierarchical or arithmetic one';
    walk.frames += 1;
    if (walk.frames > 1) return 'corrupt JPEG: it declares two frames';
    const [precision, high = 0, low = 0, left = 0, right = 0, components = 0] = segment;
    const height = (high << 8) | low;
    const width = (left << 8) | right;
    if (precision !== 8) return `expected a JPEG of 8 bits, got ${precision}`;
    if (height < 1 || width < 1 || height * width > maxPixels) {
      return `expected 1 to ${maxPixels} pixels, got ${height} x ${width}`;
    }
    if (components !== 1 && components !== 3) return `expected a JPEG of 1 or 3 components, got ${components}`;
    if (segment.length !== 6 + 3 * components) return 'corrupt JPEG: the frame header has a wrong length';
    const ids = Array.from({ length: components }, (_, index) => segment[6 + 3 * index]!);
    const factors = Array.from({ length: components }, (_, index) => segment[7 + 3 * index]!);
    const fits = factors.every((factor) => [factor >> 4, factor & 15].every((value) => value >= 1 && value <= 4));
    if (!fits) return 'corrupt JPEG: expected sampling factors of 1 to 4';
    if (String.fromCharCode(...ids) === 'RGB') walk.rgb = true;
  }
  // Adobe's marker with transform 0 says that three components are RGB; jpeg-js does not act on it.
  if (marker === ADOBE && String.fromCharCode(...segment.subarray(0, 5)) === 'Adobe') walk.rgb ||= segment[11] === 0;
  if (marker === START_OF_SCAN) {
    walk.scans += 1;
    if (walk.frames === 0) return 'corrupt JPEG: a scan comes before the frame';
    if (walk.scans > MAX_SCANS) return `expected a JPEG of at most ${MAX_SCANS} scans, got more`;
  }
  return null;
}

/** Where the entropy-coded data that begins at `start` ends: at the next marker that is neither stuffing nor a restart. */
function scanEnd(bytes: Uint8Array, start: number): number {
  for (let offset = start; offset + 1 < bytes.length; offset++) {
    const next = bytes[offset + 1]!;
    if (bytes[offset] === 0xff && next !== 0x00 && !(next >= 0xd0 && next <= 0xd7)) return offset;
  }
  return bytes.length;
}
