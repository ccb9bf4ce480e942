/** The values of flags: text from the command line, checked by zod; what does not fit ends the command and names the flag. */
import * as z from 'zod';
import { Stop } from './outcome.ts';

const checked = (expected: string, fits: (text: string) => boolean) => z.string().refine(fits, { error: expected });

/** A whole number within limits. */
export const wholeNumber = (min: number, max: number) =>
  checked(
    `a whole number from ${min} to ${max}`,
    (text) => /^\d{1,12}$/.test(text) && Number(text) >= min && Number(text) <= max,
  ).transform(Number);

/** A share strictly between 0 and 1. */
export const share = () =>
  checked('a number above 0 and below 1', (text) => {
    return /^[\d.e+-]+$/i.test(text) && Number(text) > 0 && Number(text) < 1;
  }).transform(Number);

const engineNames = ['auto', 'wasm', 'webgpu'] as const;
export const engine = z.enum(engineNames, { error: `one of ${engineNames.join(', ')}` });
export const seed = wholeNumber(0, 2 ** 32 - 1);
export const label = wholeNumber(0, 9_999);
export const flag = z.boolean().default(false);

/** Checks the options that commander parsed; their names are those of the flags in camel case. */
export function parseFlags<Schema extends z.ZodObject>(schema: Schema, options: unknown): z.infer<Schema> {
  const parsed = schema.safeParse(options);
  if (parsed.success) return parsed.data;
  const { path, message } = parsed.error.issues[0]!;
  const name = String(path[0]);
  const got = JSON.stringify((options as Record<string, unknown>)[name]);
  throw new Stop(
    `--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}: expected ${message}, got ${got}`,
  );
}
