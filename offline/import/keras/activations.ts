/** Activations of Keras: by name, as layers, and as the argument of another layer. */
import * as z from 'zod';
import type { Layer } from '../../../src/network/network.ts';

type WithoutNode<Item> = Item extends Layer ? Omit<Item, 'name' | 'inputs'> : never;
/** A layer of the network without its name and inputs. */
export type Body = WithoutNode<Layer>;

const NAMED: ReadonlyMap<string, Body[]> = new Map<string, Body[]>([
  ['linear', []],
  ['relu', [{ type: 'relu' }]],
  ['relu6', [{ type: 'relu6' }]],
  ['elu', [{ type: 'elu' }]],
  ['selu', [{ type: 'selu' }]],
  ['sigmoid', [{ type: 'sigmoid' }]],
  ['tanh', [{ type: 'tanh' }]],
  ['softmax', [{ type: 'softmax' }]],
  ['swish', [{ type: 'swish' }]],
  ['silu', [{ type: 'swish' }]],
  ['hard_swish', [{ type: 'hardSwish' }]],
  ['hard_silu', [{ type: 'hardSwish' }]],
  ['gelu', [{ type: 'gelu' }]],
  // As a function its slope is 0.2; the layer of that name states its own.
  ['leaky_relu', [{ type: 'leakyRelu', alpha: 0.2 }]],
]);

const zero = z.literal(0).nullish();
const slope = z.number().nullish();

/** The name of an activation: as it is, or as Keras 3 may write functions. */
const named = z
  .union(
    [
      z.string(),
      z.object({ class_name: z.enum(['function', 'builtin']), config: z.string() }).transform((item) => item.config),
    ],
    { error: 'expected the name of an activation' },
  )
  .transform((name, context): Body[] => {
    const bodies = NAMED.get(name);
    if (bodies) return bodies;
    context.addIssue({ code: 'custom', message: `no counterpart of ${JSON.stringify(name.slice(0, 100))}` });
    return z.NEVER;
  });

/** The configs of the layers that are an activation of their own, by class. */
export const activationLayers: ReadonlyMap<string, z.ZodType<Body[]>> = new Map<string, z.ZodType<Body[]>>([
  ['ELU', z.object({ alpha: z.literal(1).nullish() }).transform((): Body[] => [{ type: 'elu' }])],
  // Keras 2 calls the slope alpha.
  [
    'LeakyReLU',
    z
      .object({ alpha: slope, negative_slope: slope })
      .transform((config): Body[] => [{ type: 'leakyRelu', alpha: config.negative_slope ?? config.alpha ?? 0.3 }]),
  ],
  [
    'ReLU',
    z
      .union(
        [
          z.object({ max_value: z.literal(6), negative_slope: zero, threshold: zero }),
          z.object({ max_value: z.null().optional(), negative_slope: slope, threshold: zero }),
        ],
        { error: 'expected max_value 6 or none, threshold 0, and a negative_slope only where nothing else is set' },
      )
      .transform((config): Body[] => {
        if (config.max_value) return [{ type: 'relu6' }];
        return config.negative_slope ? [{ type: 'leakyRelu', alpha: config.negative_slope }] : [{ type: 'relu' }];
      }),
  ],
]);

const layered = z.object({ class_name: z.string(), config: z.unknown() }).transform((item, context): Body[] => {
  const parsed = activationLayers.get(item.class_name)?.safeParse(item.config);
  if (parsed?.success) return parsed.data;
  context.addIssue({ code: 'custom', message: `no counterpart of ${JSON.stringify(item.class_name.slice(0, 100))}` });
  return z.NEVER;
});

/** An activation as the argument of a layer: a name, a function, or a layer; none is linear. */
export const activation: z.ZodType<Body[]> = z
  .unknown()
  .optional()
  .transform((value, context): Body[] => {
    const isLayer = typeof value === 'object' && value !== null && !named.safeParse(value).success;
    const parsed = (isLayer ? layered : named).safeParse(value ?? 'linear');
    if (parsed.success) return parsed.data;
    context.addIssue({ code: 'custom', message: parsed.error.issues[0]!.message });
    return z.NEVER;
  });
