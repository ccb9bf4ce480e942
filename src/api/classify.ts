/** Classification over HTTP: images in, labels and verdicts out. */
import * as z from 'zod';
import { failure, success, type Result } from '../result.ts';
import { digestSchema, type Routes } from './route.ts';

export const PIXEL_LIMIT = 4_000_000;
export const BATCH_LIMIT = 32;

const label = z.int().min(0);

/**
 * Checked by `imageFromPixels` and only described here: zod would collect an issue for each of a million wrong numbers.
 */
const pixels = z.unknown().meta({
  description: 'pixels [H][W][C], numbers in 0..255',
  type: 'array',
  items: { type: 'array', items: { type: 'array', items: { type: 'number', minimum: 0, maximum: 255 } } },
});

export const classifyRequest = z.strictObject({ pixels });
export const batchRequest = z.strictObject({ images: z.array(pixels).min(1).max(BATCH_LIMIT) });

const match = z.strictObject({
  triggerId: z.string(),
  targetLabel: label,
  targetLabelName: z.string(),
  pValue: z.number(),
  score: z.number(),
});

/** `off` only appears where the guard is switched off to measure its cost. `evidence`: what the quarantined victim would have answered. */
const guard = z.union([
  z.strictObject({
    verdict: z.enum(['clean', 'suspect']),
    pValue: z.number(),
    threshold: z.number(),
    matches: z.array(match),
    evidence: z
      .strictObject({ victimLabel: label, victimLabelName: z.string(), victimScores: z.array(z.number()) })
      .optional(),
  }),
  z.strictObject({ verdict: z.literal('off') }),
]);

const classification = z.strictObject({
  label,
  labelName: z.string(),
  scores: z.array(z.number()).describe('softmax probabilities [K]'),
  guard,
});
export const classifyResponse = classification.extend({ release: digestSchema });
export const batchResponse = z.strictObject({ release: digestSchema, results: z.array(classification) });

export const classifyRoutes = {
  classify: {
    method: 'post',
    path: '/v1/classify',
    summary: 'Classify one image',
    roles: ['classify'],
    request: { 'image/png': 'binary', 'image/jpeg': 'binary', 'application/json': classifyRequest },
    status: 200,
    response: classifyResponse,
    errors: [400, 401, 403, 413, 415, 422, 500, 503],
  },
  classifyBatch: {
    method: 'post',
    path: '/v1/classify/batch',
    summary: `Classify up to ${BATCH_LIMIT} images`,
    roles: ['classify'],
    request: { 'application/json': batchRequest },
    status: 200,
    response: batchResponse,
    errors: [400, 401, 403, 413, 415, 422, 500, 503],
  },
} as const satisfies Routes;

export type Classification = z.infer<typeof classification>;
export type GuardAnswer = z.infer<typeof guard>;

const shapeOf = (value: unknown): string => {
  const sizes: number[] = [];
  for (let level = value; Array.isArray(level) && sizes.length < 4; level = level[0] as unknown)
    sizes.push(level.length);
  return sizes.length ? `[${sizes.join(',')}]` : typeof value;
};

/**
 * Reads nested arrays `pixels` [H][W][C] in 0..255 into `image` [H*W*C] in 0..1. Fails when the shape is not the one expected or a value is not
 * a finite number in the range; `field` names the input in the message.
 */
export function imageFromPixels(
  pixels: unknown,
  input: { height: number; width: number; channels: number },
  field: string,
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
        if (typeof value !== 'number' || !(value >= 0 && value <= 255)) {
          const at = [Math.floor(next / channels / width), Math.floor(next / channels) % width, next % channels];
          const got = typeof value === 'number' ? value : typeof value;
          return failure(`${field}[${at.join('][')}]: expected a number in 0..255, got ${got}`);
        }
        image[next] = value / 255;
        next += 1;
      }
    }
  }
  return success(image);
}
