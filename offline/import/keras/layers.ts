/** What each class of Keras layer is in the network's terms. */
import * as z from 'zod';
import type { Shape } from '../../../src/network/network.ts';
import type { DraftWeight } from '../imported.ts';
import { activation, activationLayers, type Body } from './activations.ts';
import { conv2d, depthwiseConv2d, separableConv2d } from './convolutions.ts';
import {
  activated,
  biased,
  channelsLast,
  layerClass,
  padding,
  pair,
  size,
  whole,
  type LayerClass,
  type Part,
} from './layer-class.ts';

const dense = layerClass({
  config: z.object({ units: size, use_bias: z.boolean().default(true), activation }),
  weights: (config) => biased(['kernel'], config.use_bias),
  parts: ({ units, activation: bodies }, [kernel, bias]) => {
    const weights = bias ? { kernel: whole(kernel!), bias: whole(bias) } : { kernel: whole(kernel!) };
    return activated({ body: { type: 'dense', units, bias: bias !== undefined }, weights }, bodies);
  },
});

const axis = z.union([z.int(), z.tuple([z.int()]).transform(([only]) => only)], { error: 'expected one axis' });
const isLast = (wanted: number, shape: Shape): boolean => wanted === -1 || wanted === shape.length;

const batchNormalization = layerClass({
  config: z.object({
    axis: axis.default(-1),
    epsilon: z.number().positive().default(1e-3),
    scale: z.boolean().default(true),
    center: z.boolean().default(true),
    renorm: z.literal(false).nullish(),
  }),
  weights: ({ scale, center }) => [
    ...(scale ? ['gamma'] : []),
    ...(center ? ['beta'] : []),
    'moving_mean',
    'moving_variance',
  ],
  parts: (config, arrays, [input]) => {
    if (!isLast(config.axis, input!))
      return `axis: expected the last axis of [${input!.join(',')}], got ${config.axis}`;
    const rest = [...arrays];
    const shape = rest.at(-1)!.shape;
    const constant = (value: number): DraftWeight => ({
      shape,
      data: new Float32Array(rest.at(-1)!.data.length).fill(value),
      from: null,
    });
    const gamma = config.scale ? whole(rest.shift()!) : constant(1);
    const beta = config.center ? whole(rest.shift()!) : constant(0);
    const weights = { gamma, beta, mean: whole(rest[0]!), variance: whole(rest[1]!) };
    return [{ body: { type: 'batchNorm', epsilon: config.epsilon }, weights }];
  },
});

const applying = (config: z.ZodType<Body[]>): LayerClass<unknown> =>
  layerClass({ config, parts: (bodies) => bodies.map((body) => ({ body })) });

const pool = (type: 'maxPool' | 'averagePool'): LayerClass<unknown> =>
  layerClass({
    config: z.object({
      pool_size: pair.default([2, 2]),
      strides: pair.nullish(),
      padding: padding.default('valid'),
      data_format: channelsLast,
    }),
    parts: ({ pool_size: poolSize, strides, padding: pad }) => [
      { body: { type, poolSize, strides: strides ?? poolSize, padding: pad } },
    ],
  });

const globalPool = (type: 'globalAveragePool' | 'globalMaxPool'): LayerClass<unknown> =>
  layerClass({
    config: z.object({ keepdims: z.boolean().nullish(), data_format: channelsLast }),
    parts: ({ keepdims }, _, [input]) =>
      keepdims
        ? [{ body: { type } }, { body: { type: 'reshape', shape: [1, 1, input!.at(-1)!] } }]
        : [{ body: { type } }],
  });

const nothing = layerClass({ config: z.object({}), parts: () => [] });
const sum = layerClass({ config: z.object({}), parts: () => [{ body: { type: 'add' } }] });

/** A layer that works along the last axis, given as one that may also be counted from the front. */
const alongLast = (body: Body): LayerClass<unknown> =>
  layerClass({
    config: z.object({ axis: axis.nullish() }),
    parts: (config, _, [input]) =>
      isLast(config.axis ?? -1, input!)
        ? [{ body }]
        : `axis: expected the last axis of [${input!.join(',')}], got ${config.axis}`,
  });

const flatten = layerClass({
  config: z.object({ data_format: channelsLast }),
  parts: () => [{ body: { type: 'flatten' } }],
});

const product = (shape: Shape): number => shape.reduce((total, count) => total * count, 1);

const reshape = layerClass({
  config: z.object({
    target_shape: z
      .array(z.union([size, z.literal(-1)]))
      .min(1)
      .max(3),
  }),
  parts: ({ target_shape: target }, _, [input]) => {
    const rest = product(input!) / product(target.filter((count) => count !== -1));
    return [{ body: { type: 'reshape', shape: target.map((count) => (count === -1 ? rest : count)) } }];
  },
});

const border = z.int().min(0).max(1024);
const borders = z.union([z.tuple([border, border]), border.transform((both): [number, number] => [both, both])]);

const zeroPadding2d = layerClass({
  config: z.object({
    padding: z.union(
      [
        z.tuple([borders, borders]),
        border.transform(
          (all) =>
            [
              [all, all],
              [all, all],
            ] as const,
        ),
      ],
      { error: 'expected up to two pairs of whole numbers in 0..1024' },
    ),
    data_format: channelsLast,
  }),
  parts: ({ padding: [[top, bottom], [left, right]] }) => [
    { body: { type: 'pad', padding: { top, bottom, left, right } } },
  ],
});

/** Scales each channel; one number is for all channels. */
function normalize(mean: readonly number[], std: readonly number[], input: Shape): Part[] | string {
  const channels = input.at(-1)!;
  if (channels > 1024) return `expected at most 1024 channels, got ${channels}`;
  const each = (values: readonly number[]): number[] =>
    values.length === 1 ? Array.from({ length: channels }, () => values[0]!) : [...values];
  return [{ body: { type: 'normalize', mean: each(mean), std: each(std) } }];
}

const rescaling = layerClass({
  config: z.object({ scale: z.number().positive(), offset: z.number().default(0) }),
  parts: ({ scale, offset }, _, [input]) => normalize([(0 - offset) / scale], [1 / scale], input!),
});

const EPSILON = 1e-7;
/** One number, or one a channel, however Keras nests them. */
const moments = z
  .unknown()
  .transform((nested) => [nested].flat(5))
  .pipe(z.array(z.number()).min(1).max(1024));

const normalization = layerClass({
  config: z.object({
    axis: z.union([axis, z.tuple([]), z.null()]).default(-1),
    mean: moments.nullish(),
    variance: moments.nullish(),
    invert: z.literal(false).nullish(),
  }),
  weights: (config) => (config.mean && config.variance ? [] : ['mean', 'variance']),
  parts: (config, arrays, [input]) => {
    const [mean, variance] =
      arrays.length > 0 ? arrays.map(({ data }) => [...data.subarray(0, 1025)]) : [config.mean!, config.variance!];
    if (typeof config.axis === 'number' && !isLast(config.axis, input!)) {
      return `axis: expected the last axis of [${input!.join(',')}], got ${config.axis}`;
    }
    const std = variance!.map((value) => Math.max(Math.sqrt(value), EPSILON));
    return normalize(mean!, std, input!);
  },
});

/** Every class that can be imported, by its name in a config; operations of Keras 3 by their module and name. */
export const LAYER_CLASSES: ReadonlyMap<string, LayerClass<unknown>> = new Map([
  ['Conv2D', conv2d],
  ['DepthwiseConv2D', depthwiseConv2d],
  ['SeparableConv2D', separableConv2d],
  ['BatchNormalization', batchNormalization],
  ['Dense', dense],
  ...[...activationLayers].map(([name, config]) => [name, applying(config)] as const),
  ['Activation', applying(z.object({ activation }).transform((config) => config.activation))],
  ['MaxPooling2D', pool('maxPool')],
  ['AveragePooling2D', pool('averagePool')],
  ['GlobalAveragePooling2D', globalPool('globalAveragePool')],
  ['GlobalMaxPooling2D', globalPool('globalMaxPool')],
  ['Flatten', flatten],
  ['Reshape', reshape],
  ['ZeroPadding2D', zeroPadding2d],
  ['Rescaling', rescaling],
  ['Normalization', normalization],
  ['Add', sum],
  ['keras.src.ops.numpy.Add', sum],
  ['Concatenate', alongLast({ type: 'concat' })],
  ['Softmax', alongLast({ type: 'softmax' })],
  ...[
    'Dropout',
    'SpatialDropout2D',
    'GaussianNoise',
    'GaussianDropout',
    'AlphaDropout',
    'ActivityRegularization',
    'RandomBrightness',
    'RandomContrast',
    'RandomFlip',
    'RandomRotation',
    'RandomTranslation',
    'RandomZoom',
  ].map((name) => [name, nothing] as const),
]);
