/**
 * Repeatable randomness: sfc32 (Chris Doty-Humphrey, PractRand 0.95, `sfc.h`), seeded with three words and 15 discarded
 * rounds as there. The words are the seed (low and high 32 bits) and the FNV-1a hash of the purpose, so that two
 * purposes of one run never share a stream and adding a purpose leaves the others as they were.
 */

export type RandomSource = {
  /** `count` numbers in [0,1), 24 random bits each. */
  uniform(count: number): Float32Array;
  /** `count` numbers of the standard normal distribution. */
  normal(count: number): Float32Array;
  /** One integer in 0..below-1, unbiased; `below` is 1..2^32. */
  integer(below: number): number;
  /** The integers 0..count-1 in random order. */
  shuffled(count: number): Int32Array;
};

/** The stream of random numbers that belongs to a whole-number seed and a purpose, such as `attack/poison`. */
export function randomSource(seed: number, purpose: string): RandomSource {
  if (!Number.isSafeInteger(seed)) throw new Error(`randomSource: the seed must be a whole number, got ${seed}`);
  const next = sfc32(seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0, fnv1a(purpose));
  const uniform = (): number => (next() >>> 8) / 2 ** 24;

  // Drops the incomplete last block of the 2^32 words, which would favour the small numbers.
  const integer = (below: number): number => {
    if (!Number.isInteger(below) || below < 1 || below > 2 ** 32) {
      throw new Error(`randomSource: integer(below) needs 1..2^32, got ${below}`);
    }
    const limit = 2 ** 32 - (2 ** 32 % below);
    for (;;) {
      const word = next();
      if (word < limit) return word % below;
    }
  };

  return {
    uniform: (count) => Float32Array.from({ length: count }, uniform),
    // Box and Muller 1958, the cosine half; 1 - u keeps the logarithm finite.
    normal: (count) =>
      Float32Array.from({ length: count }, () => {
        const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
        return radius * Math.cos(2 * Math.PI * uniform());
      }),
    integer,
    // Fisher and Yates, Durstenfeld's form.
    shuffled: (count) => {
      const order = Int32Array.from({ length: count }, (_, index) => index);
      for (let last = count - 1; last > 0; last--) {
        const other = integer(last + 1);
        [order[last], order[other]] = [order[other]!, order[last]!];
      }
      return order;
    },
  };
}

function sfc32(a: number, b: number, c: number): () => number {
  let counter = 1;
  const next = (): number => {
    const output = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + output) | 0;
    return output >>> 0;
  };
  for (let round = 0; round < 15; round++) next();
  return next;
}

function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}
