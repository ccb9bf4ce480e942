/**
 * Encoded images to pixels and back. The same code runs offline and at the edge, so that a model sees at the edge exactly
 * what it was purified with (two JPEG decoders differ by a few grey levels). Colour profiles, gamma and EXIF rotation
 * are ignored in both places.
 */
import { encode } from 'fast-png';
import { decodeJpeg, isJpeg } from './image/jpeg.ts';
import { decodePng, isPng } from './image/png.ts';
import { failure, success, type Result } from './result.ts';

/** `data` [H,W,C] in 0..255; C is 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA). */
export type Image = { height: number; width: number; channels: number; data: Uint8Array };
export type ImageLimits = { maxPixels: number };

/**
 * Decodes a PNG (1, 2, 4 and 16 bits are rescaled to 8) or a JPEG (always RGB), told apart by their first bytes.
 * The declared size is checked before anything is decoded, and memory stays within a small multiple of `maxPixels`.
 * Fails on other formats, larger, truncated or corrupt images, interlaced PNG, CMYK, lossless and arithmetic-coded JPEG.
 */
export function decodeImage(bytes: Uint8Array, limits: ImageLimits): Result<Image> {
  if (isPng(bytes)) return decodePng(bytes, limits);
  if (isJpeg(bytes)) return decodeJpeg(bytes, limits);
  return failure(`image: expected PNG or JPEG, got ${bytes.length} bytes that begin like neither`);
}

/**
 * Fits an image to the channels that a network takes, without changing what it shows: opaque alpha is dropped, grey becomes
 * RGB, and RGB whose three channels are equal everywhere becomes grey. Everything else is refused.
 */
export function toChannels(image: Image, channels: number): Result<Image> {
  if (image.channels === channels) return success(image);
  const hasAlpha = image.channels === 2 || image.channels === 4;
  if (hasAlpha && !isOpaque(image)) return failure('image: expected no transparency, got pixels that are not opaque');
  const opaque = hasAlpha ? keepChannels(image, image.channels - 1) : image;
  if (opaque.channels === channels) return success(opaque);
  if (opaque.channels === 1 && channels === 3) return success(repeatGrey(opaque));
  if (opaque.channels === 3 && channels === 1 && isGrey(opaque)) return success(keepChannels(opaque, 1));
  const colour = opaque.channels === 3 && channels === 1 ? ' that differ (a colour image)' : '';
  return failure(
    `image: expected ${channels} ${channels === 1 ? 'channel' : 'channels'}, got ${opaque.channels}${colour}`,
  );
}

/** Encodes 8-bit pixels [H,W,C], C in 1..4, as a PNG; the same pixels always give the same bytes. */
export function encodePng(image: Image): Uint8Array {
  const { height, width, channels, data } = image;
  if (data.length !== height * width * channels) {
    throw new Error(`encodePng: expected ${height * width * channels} bytes of data, got ${data.length}`);
  }
  return encode({ height, width, channels, depth: 8, data });
}

function isOpaque({ channels, data }: Image): boolean {
  for (let index = channels - 1; index < data.length; index += channels) if (data[index] !== 255) return false;
  return true;
}

function isGrey({ data }: Image): boolean {
  for (let index = 0; index < data.length; index += 3) {
    if (data[index] !== data[index + 1] || data[index] !== data[index + 2]) return false;
  }
  return true;
}

/** Keeps the first `kept` channels of every pixel. */
function keepChannels(image: Image, kept: number): Image {
  const pixels = image.height * image.width;
  const data = new Uint8Array(pixels * kept);
  for (let pixel = 0; pixel < pixels; pixel++) {
    for (let channel = 0; channel < kept; channel++) {
      data[pixel * kept + channel] = image.data[pixel * image.channels + channel]!;
    }
  }
  return { ...image, channels: kept, data };
}

function repeatGrey(image: Image): Image {
  const data = new Uint8Array(image.data.length * 3);
  for (let index = 0; index < data.length; index++) data[index] = image.data[Math.floor(index / 3)]!;
  return { ...image, channels: 3, data };
}
