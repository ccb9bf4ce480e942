/** Images as clients send them, to the pixels of a network: one image [H*W*C] in 0..1, as `forward` takes it. */
import { decodeImage } from '../image.ts';
import { fitImage } from '../image/fit.ts';
import { decodeBase64 } from '../release/encoding.ts';
import { failure, success, type Result } from '../result.ts';

/** Decoding a JPEG takes about 44 bytes a pixel at its peak (measured), and an isolate has 128 MB for everything. */
export const PIXEL_LIMIT = 1_500_000;

export type ImageSize = { height: number; width: number; channels: number };

/** Decodes a PNG or JPEG of up to `PIXEL_LIMIT` pixels and fits it to `input` (`fitImage` says how); `field` names it in the message. */
export function imageFromFile(bytes: Uint8Array, input: ImageSize, field: string): Result<Float32Array> {
  const decoded = decodeImage(bytes, { maxPixels: PIXEL_LIMIT });
  const fitted = decoded.ok ? fitImage(decoded.value, input) : decoded;
  if (!fitted.ok) return failure(fitted.error.replace(/^image/, field));
  return success(Float32Array.from(fitted.value.data, (value) => value / 255));
}

/** The same for a file in base64. */
export function imageFromBase64(text: string, input: ImageSize, field: string): Result<Float32Array> {
  const bytes = decodeBase64(text);
  return bytes.ok ? imageFromFile(bytes.value, input, field) : failure(`${field}: ${bytes.error}`);
}

/** One image of a JSON list: `{"b64": "..."}` or nested pixels in 0..`largest`. */
export function imageFromJson(value: unknown, input: ImageSize, field: string, largest: 1 | 255): Result<Float32Array> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return imageFromPixels(value, input, field, largest);
  }
  const { b64, ...others } = value as Record<string, unknown>;
  if (typeof b64 === 'string' && Object.keys(others).length === 0) return imageFromBase64(b64, input, field);
  return failure(`${field}: expected pixels or {"b64": "..."}, got another object`);
}

const shapeOf = (value: unknown): string => {
  const sizes: number[] = [];
  for (let level = value; Array.isArray(level) && sizes.length < 4; level = level[0] as unknown)
    sizes.push(level.length);
  return sizes.length ? `[${sizes.join(',')}]` : typeof value;
};

/**
 * Reads nested arrays `pixels` [H][W][C] in 0..`largest` into an image [H*W*C] in 0..1. Fails when the shape is not the one expected or a
 * value is not a finite number in the range; `field` names the input in the message.
 */
export function imageFromPixels(
  pixels: unknown,
  input: ImageSize,
  field: string,
  largest: 1 | 255,
): Result<Float32Array> {
  const { height, width, channels } = input;
  const wrongShape = (): { ok: false; error: string } =>
    failure(`${field}: expected numbers [${height},${width},${channels}], got ${shapeOf(pixels)}`);
  const image = new Float32Array(height * width * channels);
  if (!Array.isArray(pixels) || pixels.length !== height) return wrongShape();
  let next = 0;
  for (const row of pixels as unknown[]) {
    if (!Array.isArray(row) || row.length !== width) return wrongShape();
    for (const pixel of row as unknown[]) {
      if (!Array.isArray(pixel) || pixel.length !== channels) return wrongShape();
      for (const value of pixel as unknown[]) {
        if (typeof value !== 'number' || !(value >= 0 && value <= largest)) {
          const at = [Math.floor(next / channels / width), Math.floor(next / channels) % width, next % channels];
          const got = typeof value === 'number' ? value : typeof value;
          return failure(`${field}[${at.join('][')}]: expected a number in 0..${largest}, got ${got}`);
        }
        image[next] = value / largest;
        next += 1;
      }
    }
  }
  return success(image);
}
