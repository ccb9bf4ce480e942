/** Damages files in ways that find faults of parsers, the same way for the same seed. */
import { randomSource, type RandomSource } from '../../offline/engine/random.ts';

type Mutation = (bytes: Uint8Array, random: RandomSource) => Uint8Array;

/** Sizes, counts and numbers that parsers trip over, little-endian. */
const NUMBERS: readonly Uint8Array[] = [
  [0, 0, 0, 0],
  [255, 255, 255, 255],
  [255, 255, 255, 127],
  [0, 0, 0, 128],
  [0, 0, 192, 127], // NaN
  [0, 0, 128, 127], // Infinity
  [255, 255, 255, 255, 255, 255, 255, 127],
  [0, 0, 0, 0, 0, 0, 0, 128],
  [0, 0, 0, 0, 0, 1, 0, 0], // 2^40
  [0, 0, 0, 0, 0, 0, 248, 127], // NaN, float64
  // As varints: 2^31 - 1, 2^32, 2^63 - 1, -1, one without an end.
  [255, 255, 255, 255, 7],
  [128, 128, 128, 128, 16],
  [255, 255, 255, 255, 255, 255, 255, 255, 127],
  [255, 255, 255, 255, 255, 255, 255, 255, 255, 1],
  [255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255],
].map((bytes) => Uint8Array.from(bytes));

/** The same for JSON inside of a file. */
const TEXTS: readonly Uint8Array[] = [
  '-1',
  '0',
  '1e999',
  '99999999999',
  'null',
  '[[[[',
  '{}',
  '""',
  '\\u0000',
  '../',
].map((text) => new TextEncoder().encode(text));

const joined = (...parts: Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));
const randomBytes = (count: number, random: RandomSource): Uint8Array =>
  Uint8Array.from({ length: count }, () => random.integer(256));

function overwrite(bytes: Uint8Array, start: number, values: Uint8Array): Uint8Array {
  const changed = bytes.slice();
  changed.set(values.subarray(0, Math.max(bytes.length - start, 0)), start);
  return changed;
}

/** Where to damage: anywhere, or near the ends, where headers and tables lie. */
function place(bytes: Uint8Array, random: RandomSource): number {
  const near = Math.min(bytes.length, 2048);
  switch (random.integer(4)) {
    case 0:
      return random.integer(near + 1);
    case 1:
      return bytes.length - random.integer(near + 1);
    default:
      return random.integer(bytes.length + 1);
  }
}

/** Mostly short, sometimes long. */
const runLength = (bytes: Uint8Array, random: RandomSource): number =>
  1 + random.integer(random.integer(4) ? 16 : Math.max(bytes.length, 1));

const MUTATIONS: readonly Mutation[] = [
  // Truncated.
  (bytes, random) => bytes.slice(0, place(bytes, random)),
  // Bits flipped, one to sixteen.
  (bytes, random) => {
    const changed = bytes.slice();
    for (let count = 1 + random.integer(16); count > 0; count--) {
      changed[Math.min(place(bytes, random), bytes.length - 1)]! ^= 1 << random.integer(8);
    }
    return changed;
  },
  // A range replaced.
  (bytes, random) => overwrite(bytes, place(bytes, random), randomBytes(runLength(bytes, random), random)),
  (bytes, random) => overwrite(bytes, place(bytes, random), new Uint8Array(runLength(bytes, random)).fill(255)),
  // A size or number replaced, or put between.
  (bytes, random) => overwrite(bytes, place(bytes, random), NUMBERS[random.integer(NUMBERS.length)]!),
  (bytes, random) => insert(bytes, place(bytes, random), NUMBERS[random.integer(NUMBERS.length)]!),
  (bytes, random) => overwrite(bytes, place(bytes, random), TEXTS[random.integer(TEXTS.length)]!),
  (bytes, random) => insert(bytes, place(bytes, random), TEXTS[random.integer(TEXTS.length)]!),
  // A range left out, or repeated.
  (bytes, random) => {
    const start = place(bytes, random);
    return joined(bytes.subarray(0, start), bytes.subarray(start + runLength(bytes, random)));
  },
  (bytes, random) => {
    const start = place(bytes, random);
    return insert(bytes, start, bytes.subarray(start, start + runLength(bytes, random)));
  },
];

function insert(bytes: Uint8Array, start: number, values: Uint8Array): Uint8Array {
  return joined(bytes.subarray(0, start), values, bytes.subarray(start));
}

/** A copy of a file with one to three damages; which and where depends on the seed alone. */
export function mutate(bytes: Uint8Array, seed: number): Uint8Array {
  const random = randomSource(seed, 'test/mutate');
  let changed = bytes;
  for (let count = 1 + random.integer(3); count > 0; count--) {
    changed = MUTATIONS[random.integer(MUTATIONS.length)]!(changed, random);
  }
  return changed;
}
