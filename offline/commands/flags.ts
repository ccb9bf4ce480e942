/** The values of flags: text from the command line, checked by zod; what does not fit ends the command and names the flag. */
import type { Command } from 'commander';
import * as z from 'zod';
import type { GivenInput } from '../import/imported.ts';
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

/** What commands say of their argument and of the key that a release needs. */
export const MODEL = 'model file (.onnx, .h5, .keras, model.json), model directory, or release';
export const KEY = 'public key that signed the release (default: that of your own signing key)';

const engineNames = ['auto', 'wasm', 'webgpu'] as const;
export const engine = z.enum(engineNames, { error: `one of ${engineNames.join(', ')}` });
export const seed = wholeNumber(0, 2 ** 32 - 1);
export const label = wholeNumber(0, 9_999);
export const flag = z.boolean().default(false);

const NUMBER = /^-?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
const split = (text: string): string[] => text.split(',').map((part) => part.trim());
const numbers = (expected: string, fits: (value: number) => boolean) =>
  checked(expected, (text) => split(text).every((part) => NUMBER.test(part) && fits(Number(part))))
    .transform((text) => split(text).map(Number))
    .optional();
const layouts = ['nchw', 'nhwc'] as const;
const channelOrders = ['rgb', 'bgr'] as const;

/** The values of the flags that `addInputFlags` adds, part of the schema of a command. */
export const inputFlags = {
  scale: checked('a number above 0', (text) => NUMBER.test(text) && Number.isFinite(Number(text)) && Number(text) > 0)
    .transform(Number)
    .optional(),
  mean: numbers('a number, or one a channel separated by commas', Number.isFinite),
  std: numbers(
    'a number above 0, or one a channel separated by commas',
    (value) => Number.isFinite(value) && value > 0,
  ),
  layout: z.enum(layouts, { error: `one of ${layouts.join(', ')}` }).optional(),
  channels: z.enum(channelOrders, { error: `one of ${channelOrders.join(', ')}` }).optional(),
  size: checked('HEIGHTxWIDTH in pixels, such as 32x32', (text) => /^[1-9]\d{0,4}x[1-9]\d{0,4}$/.test(text))
    .transform((text) => text.split('x').map(Number) as [number, number])
    .transform(([height, width]) => ({ height, width }))
    .optional(),
};

/** Adds the flags that say what a model file of another program takes as its input. */
export function addInputFlags(command: Command): Command {
  return command
    .option('--scale <N>', 'model file: it takes pixels of 0..N instead of 0..1 (mostly 1 or 255)')
    .option('--mean <LIST>', 'model file: what it wants subtracted from the scaled pixels, one number or one a channel')
    .option('--std <LIST>', 'model file: what it then wants them divided by, one number or one a channel')
    .option('--layout <NAME>', 'model file: order of the axes of its input, nchw or nhwc')
    .option('--channels <ORDER>', 'model file: rgb or bgr')
    .option('--size <HxW>', 'model file: height and width of its images, where it leaves them open');
}

/** What was given of the input settings. */
export function givenInput(flags: {
  [Name in keyof typeof inputFlags]?: z.infer<(typeof inputFlags)[Name]>;
}): GivenInput {
  const names = Object.keys(inputFlags) as (keyof typeof inputFlags)[];
  return Object.fromEntries(names.flatMap((name) => (flags[name] === undefined ? [] : [[name, flags[name]]])));
}

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
