/** How one class of Keras layer is told: what it expects of its config, which weights it has, and what it becomes. */
import * as z from 'zod';
import type { Shape } from '../../../src/network/network.ts';
import type { DraftWeight } from '../imported.ts';
import type { Body } from './activations.ts';

/** A tensor of a model file as float32, under the name that finds it there again. */
export type FileArray = { tensor: string; shape: Shape; data: Float32Array };

/** A layer of the network that has no name and no inputs yet: several of one Keras layer read each other in order. */
export type Part = { body: Body; weights?: Record<string, DraftWeight> };

/** One class: its config, the weights it has in the order of Keras, and what it becomes; a string says what does not fit. */
export type LayerClass<Config> = {
  config: z.ZodType<Config>;
  weights?(config: Config): string[];
  parts(config: Config, weights: readonly FileArray[], inputs: readonly Shape[]): Part[] | string;
};

/** Forgets the type of a config, so that classes fit in one table; what parses with the schema goes to the same entry's functions. */
export const layerClass = <Config>(entry: LayerClass<Config>): LayerClass<unknown> => entry as LayerClass<unknown>;

/** The sizes that layers have. */
export const size = z.int().min(1).max(65_536);
/** Two sizes, or one for both axes. */
export const pair = z.union([z.tuple([size, size]), size.transform((both): [number, number] => [both, both])], {
  error: 'expected one or two whole numbers',
});
/** The only layout that is supported. */
export const channelsLast = z.literal('channels_last').nullish();
/** How a window is padded. */
export const padding = z.enum(['valid', 'same']);

/** A weight that is the whole tensor of the file, where need be under another shape of as many values. */
export const whole = ({ tensor, shape, data }: FileArray, as: Shape = shape): DraftWeight => ({
  shape: as,
  data,
  from: { tensor, shape, axes: shape.map((_, axis) => axis) },
});

/** The names of the weights, with or without a bias at the end. */
export const biased = (roles: string[], useBias: boolean): string[] => (useBias ? [...roles, 'bias'] : roles);

/** A part, with the activation behind it. */
export const activated = (part: Part, bodies: readonly Body[]): Part[] => [part, ...bodies.map((body) => ({ body }))];
