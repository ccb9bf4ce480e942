/** Damages JSON where a parser of text would not notice: the same way for the same seed. */
import { randomSource, type RandomSource } from '../../offline/engine/random.ts';

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

const nested = (depth: number): Json => (depth === 0 ? [] : [nested(depth - 1)]);
const SCALARS = [null, true, false, 0, -1, 0.5, 1e9, 2 ** 53, 1e308, '', 'same', 'Conv2D', 'Sequential', '__proto__'];
const LISTS = [[], [1e9, 1e9], [-1, -1], [[]], [null, 1e9, 1e9, 1e9], nested(200)];
const VALUES: readonly Json[] = [...SCALARS, ...LISTS, {}];

/** Every place in a value: what holds it, and its key there. */
function places(json: Json): [Json[] | { [key: string]: Json }, string][] {
  if (typeof json !== 'object' || json === null) return [];
  return Object.keys(json).flatMap(
    (key) => [[json, key], ...places((json as { [key: string]: Json })[key]!)] as const,
  ) as never;
}

function damage(json: Json, random: RandomSource): void {
  const all = places(json);
  const [holder, key] = all[random.integer(all.length)]!;
  const target = holder as { [key: string]: Json };
  const [otherHolder, otherKey] = all[random.integer(all.length)]!;
  const other = structuredClone((otherHolder as { [key: string]: Json })[otherKey]!);
  switch (random.integer(4)) {
    case 0:
      delete target[key];
      break;
    case 1:
      target[key] = other;
      break;
    case 2:
      if (Array.isArray(holder)) holder.push(other);
      else target[key] = [target[key]!];
      break;
    default:
      target[key] = structuredClone(VALUES[random.integer(VALUES.length)]!);
  }
}

/** A copy of JSON text with one to three values left out, repeated elsewhere or replaced by hostile ones. */
export function mutateJson(text: string, seed: number): string {
  const random = randomSource(seed, 'test/mutate-json');
  const json = JSON.parse(text) as Json;
  for (let count = 1 + random.integer(3); count > 0; count--) damage(json, random);
  return JSON.stringify(json);
}
